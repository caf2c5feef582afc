"""`idx:PATH`: IDX files as MNIST has them and `augment export --format idx` writes them; a folder or a prefix."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.files import given_path
from data.base.names import natural_key
from data.config import DataConfig
from data.idx import read_idx
from data.publishing.class_names import published_classes
from data.sources.advice import damage, suggestion
from data.sources.arrays import ArrayReader
from data.sources.reading import Found, Record, read_found, read_unlabelled
from data.sources.source import Source
from data.sources.splits import Split, assign_roles, split_named
from data.unlabelled import UnlabelledSource

TAKES = (
    "idx:PATH takes a folder with files such as train-images-idx3-ubyte and train-labels-idx1-ubyte, or their prefix"
)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A file of images and the file of their labels."""

    images: Path
    labels: Path


def load_idx(path: Path, config: DataConfig) -> Source:
    """Read IDX files; names of classes are taken from a provenance.json beside them, as exports have it.

    Raises:
        UsageError: no such files, or files of several data sets.
        AugmentError: as `read_found`.
        CorruptFileError: a damaged file, or labels that do not fit the images.
    """
    named_test = None
    if config.test:
        others = _pairs(given_path(config.test))
        named_test = others.get("test") or [pair for of_split in others.values() for pair in of_split]
    roles = assign_roles(_pairs(path), config, where=str(path), describe=_described, named_test=named_test)
    folder = path if path.is_dir() else path.parent
    published = published_classes(folder)
    return read_found(
        Found(
            where=f"idx:{path}",
            base=folder,
            train=_records(roles.train, config),
            test=None if roles.test is None else _records(roles.test, config),
            class_names=None if published is None else published.names,
            layout=roles.layout,
            facts=roles.facts,
        ),
        config,
    )


def idx_images(path: Path, config: DataConfig) -> UnlabelledSource:
    """Read all images of IDX files, of whatever split; files of labels need not be there and are not opened.

    Raises:
        UsageError: no such files.
        AugmentError: as `read_unlabelled`.
        CorruptFileError: a damaged file.
    """
    folder, by_name = _files(path)
    files = [by_name[name] for name in sorted(by_name, key=natural_key) if "images" in name]
    if not files:
        raise UsageError(f"{path} holds no IDX files of images; {suggestion(path, kind='idx') or TAKES}")

    def records() -> Iterator[Record]:
        arrays = ArrayReader(ground=config.ground)
        for file in files:
            for row, image in enumerate(_images(file)):
                where = f"{file}, row {row}"
                yield Record(where, partial(arrays.picture, image, where=where), None)

    return read_unlabelled(Found(where=f"idx:{path}", base=folder, train=records(), test=None), config)


def _files(path: Path) -> tuple[Path, dict[str, Path]]:
    """Return the folder of IDX files, and the files by name, the packed ones only where they are not there plain."""
    folder, prefix = (path, "") if path.is_dir() else (path.parent, path.name)
    if not folder.is_dir():
        raise UsageError(f"{folder} does not exist; {TAKES}")
    files = [
        file for file in folder.iterdir() if file.name.startswith(prefix) and "idx" in file.name and file.is_file()
    ]
    return folder, {
        file.name.removesuffix(".gz"): file for file in sorted(files, key=lambda file: file.suffix != ".gz")
    }


def _images(file: Path) -> npt.NDArray[Any]:
    if damage(file):
        raise CorruptFileError(f"{file}: {damage(file)}")
    images = read_idx(file)
    if images.ndim not in (2, 3, 4):
        raise AugmentError(f"{file} has the shape {images.shape}; (N, H, W) or (N, H, W, 3) is expected")
    return images


def _pairs(path: Path) -> dict[Split, list[_Pair]]:
    """Find files of images with their labels, by split."""
    folder, by_name = _files(path)
    pairs: dict[Split, list[_Pair]] = {}
    for name in sorted(by_name, key=natural_key):
        head, _, tail = name.partition("images")
        if not tail:
            continue
        labels = [other for other in by_name if other.startswith(f"{head}labels")]
        if len(labels) != 1:
            raise UsageError(f"{by_name[name]} has {len(labels)} files of labels beside it, {head}labels…; give one")
        split = split_named(head) or "train"
        pairs.setdefault(split, []).append(_Pair(images=by_name[name], labels=by_name[labels[0]]))
    if not pairs:
        raise UsageError(f"{path} holds no IDX files; {suggestion(path, kind='idx') or TAKES}")
    several = next((of_split for of_split in pairs.values() if len(of_split) > 1), None)
    if several is not None:
        raise UsageError(
            f"{path} holds several data sets ({several[0].images.name}, {several[1].images.name}); give the beginning "
            f"of one's names, such as idx:{folder / several[0].images.name.split('-')[0]}"
        )
    return pairs


def _described(pairs: Sequence[_Pair]) -> str:
    return ", ".join(pair.images.name for pair in pairs)


def _records(pairs: Sequence[_Pair], config: DataConfig) -> Iterator[Record]:
    arrays = ArrayReader(ground=config.ground)
    for pair in pairs:
        images = _images(pair.images)
        if damage(pair.labels):
            raise CorruptFileError(f"{pair.labels}: {damage(pair.labels)}")
        labels = _labels(pair)
        if len(labels) != len(images):
            raise CorruptFileError(f"{pair.labels} holds {len(labels):,} labels for {len(images):,} images")
        for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            where = f"{pair.images}, row {row}"
            yield Record(where, partial(arrays.picture, image, where=where), label)


def _labels(pair: _Pair) -> npt.NDArray[Any]:
    labels = read_idx(pair.labels)
    if labels.ndim == 2:  # QMNIST: the class, then where the digit was written
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise CorruptFileError(f"{pair.labels} holds labels of shape {labels.shape}; one a row is expected")
    return labels.astype(np.int64)
