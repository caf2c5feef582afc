"""Where labelled images come from: data sets with names, and the user's own by `KIND:PATH`.

What reads them is imported when it is needed: looking at a folder takes neither torch nor torchvision nor PyArrow.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from glob import has_magic
from pathlib import Path

import platformdirs

from data.base.errors import SourceUnavailableError, UsageError
from data.base.files import given_path, is_there
from data.config import DEFAULT_DATASET, UNSPLIT, DataConfig
from data.copies import near_copies
from data.sources.advice import kind_of_file, suggestion
from data.sources.mnist_family import FAMILIES, load_family, load_usps, usps_is_present
from data.sources.source import Source
from data.unlabelled import REST_OF_POOL, UnlabelledSource, from_elsewhere, without_copies

__all__ = ["KINDS", "Kind", "KnownDataset", "Source", "cache_directory", "known_datasets", "load_source", "load_whole"]


@dataclass(frozen=True, kw_only=True)
class KnownDataset:
    """A data set that has a name, and whether it lies on this machine."""

    name: str
    description: str
    is_present: bool


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A form in which users have data sets of their own.

    Attributes:
        load: reads a labelled data set.
        images: reads its images alone, or those of one without labels.
    """

    description: str
    load: Callable[[Path, DataConfig], Source]
    images: Callable[[Path, DataConfig], UnlabelledSource]


def _load_parquet(path: Path, config: DataConfig) -> Source:
    from data.sources.parquet import load_parquet

    return load_parquet(path, config)


def _parquet_images(path: Path, config: DataConfig) -> UnlabelledSource:
    from data.sources.parquet import parquet_images

    return parquet_images(path, config)


def _load_arrow(path: Path, config: DataConfig) -> Source:
    from data.sources.arrow import load_arrow

    return load_arrow(path, config)


def _arrow_images(path: Path, config: DataConfig) -> UnlabelledSource:
    from data.sources.arrow import arrow_images

    return arrow_images(path, config)


def _load_folder(path: Path, config: DataConfig) -> Source:
    from data.sources.folder import load_folder

    return load_folder(path, config)


def _folder_images(path: Path, config: DataConfig) -> UnlabelledSource:
    from data.sources.folder import folder_images

    return folder_images(path, config)


def _load_npz(path: Path, config: DataConfig) -> Source:
    from data.sources.npz import load_npz

    return load_npz(path, config)


def _npz_images(path: Path, config: DataConfig) -> UnlabelledSource:
    from data.sources.npz import npz_images

    return npz_images(path, config)


def _load_csv(path: Path, config: DataConfig) -> Source:
    from data.sources.csv import load_csv

    return load_csv(path, config)


def _csv_images(path: Path, config: DataConfig) -> UnlabelledSource:
    from data.sources.csv import csv_images

    return csv_images(path, config)


def _load_jsonl(path: Path, config: DataConfig) -> Source:
    from data.sources.jsonl import load_jsonl

    return load_jsonl(path, config)


def _jsonl_images(path: Path, config: DataConfig) -> UnlabelledSource:
    from data.sources.jsonl import jsonl_images

    return jsonl_images(path, config)


def _load_idx(path: Path, config: DataConfig) -> Source:
    from data.sources.idx import load_idx

    return load_idx(path, config)


def _idx_images(path: Path, config: DataConfig) -> UnlabelledSource:
    from data.sources.idx import idx_images

    return idx_images(path, config)


KINDS: Mapping[str, Kind] = {
    "folder": Kind(
        description="one folder a class, image files inside; splits by folders",
        load=_load_folder,
        images=_folder_images,
    ),
    "parquet": Kind(
        description="Parquet: a file, a folder in Hugging Face's layout, a pattern",
        load=_load_parquet,
        images=_parquet_images,
    ),
    "arrow": Kind(description="Arrow: what Hugging Face's save_to_disk wrote", load=_load_arrow, images=_arrow_images),
    "npz": Kind(description="a NumPy archive with MedMNIST's or Keras's names", load=_load_npz, images=_npz_images),
    "csv": Kind(
        description="a table of a label and pixels (Kaggle, or a list), or a label and a file's name",
        load=_load_csv,
        images=_csv_images,
    ),
    "jsonl": Kind(
        description="JSON Lines of a label and a file's name (Hugging Face's metadata.jsonl), or pixels",
        load=_load_jsonl,
        images=_jsonl_images,
    ),
    "idx": Kind(
        description="IDX files as MNIST has them: a folder, or the beginning of their names",
        load=_load_idx,
        images=_idx_images,
    ),
}

TABLES = ("parquet", "arrow", "csv", "jsonl")
_KEYS_OF_FILES = (
    "group_column", "split_column", "image_folder", "group_level", "test", "test_split", "validation", "bad_images",
    "resize", "colour", "alpha_ground", "bits",
)  # fmt: skip

_DESCRIPTIONS = {
    "mnist": "handwritten digits, 28x28, 60,000 + 10,000",
    "fashion-mnist": "clothes, 28x28, 60,000 + 10,000",
    "kmnist": "Kuzushiji (cursive Japanese), 28x28, 60,000 + 10,000",
    "emnist-letters": "handwritten letters, 26 classes, 28x28, 124,800 + 20,800",
    "emnist-balanced": "handwritten digits and letters, 47 classes, 28x28, 112,800 + 18,800",
    "qmnist": "MNIST with a test split of 60,000, 28x28",
    "usps": "digits of postal codes, 16x16, 7,291 + 2,007",
    "digits": "scikit-learn's digits, 8x8, 1,257 + 540",
}


def cache_directory() -> Path:
    """Return where data sets are looked for and kept: `AUGMENT_DATA`, else the user's cache directory."""
    configured = os.environ.get("AUGMENT_DATA")
    return given_path(configured) if configured else Path(platformdirs.user_cache_dir("augmentation-gain"))


def known_datasets() -> list[KnownDataset]:
    """Return the data sets that have names, and which of them are here. Touches no network."""
    root = cache_directory()
    present = {name: family.is_present(root) for name, family in FAMILIES.items()}
    present |= {"usps": usps_is_present(root), "digits": True}
    return [
        KnownDataset(name=name, description=description, is_present=present[name])
        for name, description in _DESCRIPTIONS.items()
    ]


def load_source(dataset: DataConfig | str) -> Source:
    """Load a data set; `auto` is MNIST where it can be had and scikit-learn's digits elsewhere.

    Args:
        dataset: its name or `KIND:PATH`, alone or with the configuration of how to read it.

    Raises:
        UsageError: no such data set, or not readable with these options.
        SourceUnavailableError: neither a local copy nor a network.
        CorruptFileError: a local copy is damaged or differs from the published files.
        AugmentError: the user's data cannot make a study.
    """
    config = DataConfig(dataset=dataset) if isinstance(dataset, str) else dataset
    source = _labelled(config)
    if not config.unlabelled or config.unlabelled == REST_OF_POOL:
        return source
    given = _unlabelled(source, config)
    near = near_copies(given.images, source.test)
    if not near.count or near.example is None:
        return replace(source, unlabelled=given)
    among = "" if near.looked_at == len(source.test) else f" of {near.looked_at:,} looked at"
    note = (
        f"{near.count:,} test images{among} are nearly the same as an image without a label, such as test row "
        f"{near.example[0]}: take these out of data.unlabelled"
    )
    known = source.notes or tuple(filter(None, [source.warning]))
    return replace(source, unlabelled=given, notes=(*known, note), warning="; ".join((*known, note)))


def _labelled(config: DataConfig) -> Source:
    kind, separator, path = config.dataset.partition(":")
    if separator and kind in KINDS:
        if not path or "\0" in path + config.test:
            raise UsageError(f"{config.dataset!r} names no path; write {kind}:PATH")
        of_tables = [key for key in ("split_column", "image_folder") if getattr(config, key)]
        if of_tables and kind not in TABLES:
            raise UsageError(f"data.{of_tables[0]} is for tables ({', '.join(TABLES)}), not for {kind}:PATH")
        return KINDS[kind].load(given_path(path), config)
    load = _mnist_or_digits if config.dataset == DEFAULT_DATASET else _named_loader(config.dataset)
    given = [key for key in _KEYS_OF_FILES if getattr(config, key) != DataConfig.model_fields[key].default]
    if given:
        raise UsageError(
            f"data.{given[0]} is for data sets given by KIND:PATH; {config.dataset} is read as it was published"
        )
    return load()


def missing_data(config: DataConfig) -> str:
    """Say what of a configuration's data does not lie where they are said to lie, without reading them; "" if all does.

    Raises:
        UsageError: a data set by a name that nobody knows, or a kind without a path.
    """
    for dataset in filter(None, (config.dataset, config.unlabelled)):
        kind, separator, path = dataset.partition(":")
        if separator and kind in KINDS:
            if not path:
                raise UsageError(f"{dataset!r} names no path; write {kind}:PATH")
            place = given_path(path)
            place = place.parent if kind == "idx" else place  # of files whose names have a common beginning
            if not has_magic(path) and not is_there(place):
                return f"nothing lies at {place}"
        elif dataset not in (DEFAULT_DATASET, REST_OF_POOL):
            _named_loader(dataset)
    return ""


def load_whole(config: DataConfig) -> Source:
    """Load a data set given by `KIND:PATH` as one split, whatever it holds: images to be measured, not studied.

    Raises:
        UsageError: it is no `KIND:PATH`, or not readable with these options.
        AugmentError: it cannot be read.
    """
    kind, _, path = config.dataset.partition(":")
    if kind not in KINDS or not path:
        raise UsageError(
            f"{config.dataset!r} is no data set of your own; write KIND:PATH, with KIND {', '.join(KINDS)}"
        )
    return load_source(config.model_copy(update={"test_share": UNSPLIT}))


def _unlabelled(source: Source, config: DataConfig) -> UnlabelledSource:
    """Read the images without labels of a study of `source`, which keeps its own out of them.

    Raises:
        UsageError: images of another size or colour, or none but the data set's own.
        Further ones as `load_source`.
    """
    kind, separator, path = config.unlabelled.partition(":")
    if separator and kind in KINDS:
        if not path or "\0" in path:
            raise UsageError(f"data.unlabelled={config.unlabelled!r} names no path; write {kind}:PATH")
        channels, height, width = source.train.shape
        alike = config.model_copy(
            update={
                "colour": "gray" if channels == 1 else "rgb",
                "resize": height if height == width else config.resize,
                "group_column": "",
                "split_column": "",
            }
        )
        found = KINDS[kind].images(given_path(path), alike)
    else:
        other = _named_loader(config.unlabelled)()
        found = UnlabelledSource(name=other.name, images=from_elsewhere(other.train.images))
    if found.images.shape != source.train.shape:
        raise UsageError(
            f"the images of data.unlabelled are {shape_words(found.images.shape)}, the labelled ones "
            f"{shape_words(source.train.shape)}; give both one size and colour"
        )
    fresh = without_copies(found.images, [source.test])
    rest = without_copies(fresh, [source.train])
    if not len(rest):
        raise UsageError(
            f"all {len(found.images):,} images of data.unlabelled are in the data set itself; give others, or "
            "data.unlabelled=pool for those of its pool that a subset leaves"
        )
    return replace(
        found, images=rest, copies_of_test=len(found.images) - len(fresh), copies_of_train=len(fresh) - len(rest)
    )


def shape_words(shape: tuple[int, int, int]) -> str:
    """Say a shape (C, H, W) as people do, such as `28x28 grayscale`."""
    channels, height, width = shape
    return f"{height}x{width} {'grayscale' if channels == 1 else 'RGB'}"


def _mnist_or_digits() -> Source:
    try:
        return load_family("mnist", cache_directory())
    except SourceUnavailableError as error:
        digits = _digits()
        warning = f"MNIST is not available, so this study uses scikit-learn's digits (8x8) instead: {error}"
        return replace(digits, warning=warning)


def _digits() -> Source:
    from data.sources.digits import load_sklearn_digits

    return load_sklearn_digits()


def _named_loader(name: str) -> Callable[[], Source]:
    if name in FAMILIES:
        return lambda: load_family(name, cache_directory())
    if name == "usps":
        return lambda: load_usps(cache_directory())
    if name == "digits":
        return _digits
    if is_there(name):
        path = Path(name).expanduser()
        kind = kind_of_file(path)
        advice = f"write {kind}:{name}" if kind else suggestion(path, kind="") or "write KIND:PATH"
        raise UsageError(f"{name!r} is a path; {advice}")
    close = get_close_matches(name, _DESCRIPTIONS, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(
        f"unknown dataset {name!r}{meant}; known are {', '.join(_DESCRIPTIONS)}, {DEFAULT_DATASET}, "
        f"and {', '.join(f'{kind}:PATH' for kind in KINDS)}"
    )
