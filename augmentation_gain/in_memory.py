"""Images that a user has in Python, written as a data set in files, which the rest reads as any other.

Arrays of numbers become an `.npz`, all else becomes Parquet with the bytes of image files, so that what holds of files
(scale of values, transparency, orientation, limits) holds of these too, and a run that keeps them can go on.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from augmentation_gain.items import known_names, taken_apart
from data.base.errors import AugmentError, UsageError, first_line
from data.base.files import is_there, write_atomically
from data.config import DataConfig
from data.decoding import encode_pngs
from data.sources.advice import kind_of_file, suggestion
from data.sources.arrays import is_flat_image
from data.sources.csv import pixels_in_order
from data.sources.registry import KINDS

if TYPE_CHECKING:
    from torch.utils.data import Dataset

IMAGE_COLUMN, LABEL_COLUMN, GROUP_COLUMN = "image", "label", "group"  # as written here
_COLUMNS = ("image_column", "label_column", "group_column")
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_SHOWN = 5
_TRANSPARENT = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}  # and what holds the same
_DEEP_MODES = frozenset({"I", "F"})  # 32 bits a value, which PNG does not hold


class MapDataset(Protocol):
    """A data set that has a length and gives its items by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


GivenImages: TypeAlias = (
    "npt.NDArray[Any] | torch.Tensor | MapDataset | Dataset[Any] | Iterable[Any] | pd.DataFrame | str | Path"
)
GivenLabels: TypeAlias = "npt.ArrayLike | Sequence[Any] | torch.Tensor | pd.Series[Any] | str | None"
_Arrays: TypeAlias = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class _Split:
    """Images of one split with their labels.

    Attributes:
        images: an array of numbers (N, …), or N images as the bytes of files.
        labels: (N,) int64, or texts.
        groups: (N,) texts, "" where an image belongs to nothing; None where no image does.
        class_names: of labels that are numbers, where they are known.
    """

    images: npt.NDArray[Any] | list[bytes]
    labels: npt.NDArray[Any]
    groups: npt.NDArray[np.str_] | None
    class_names: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class Given:
    """A data set as the caller gives it, in the forms that `augmentation_gain.study` takes."""

    images: GivenImages
    labels: GivenLabels = None
    groups: GivenLabels = None
    test: object = None
    class_names: Sequence[str] | None = None


def dataset_options(given: Given, *, folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return `settings` with the keys that name the images; those in memory are written below `folder`.

    Raises:
        UsageError: images without labels or of an impossible shape, labels that are missing, or other images than those
            that lie in `folder`.
    """
    images, test, class_names = given.images, given.test, given.class_names
    if isinstance(images, str | Path):
        if given.labels is not None or given.groups is not None or class_names is not None:
            raise UsageError(
                "labels, groups and class_names belong to images in memory; a data set on disk has its own"
            )
        options = {**settings, "data.dataset": _named(images)}
        if test is None:
            return options
        if not isinstance(test, str | Path):
            raise UsageError("a data set on disk is tested on one on disk; give test as a path")
        return options | {"data.test": str(test)}
    columns = _columns(settings)
    train = _split(images, given.labels, groups=given.groups, columns=columns, what="images")
    tested: _Split | None = None
    if isinstance(test, str | Path):
        raise UsageError("images in memory are tested on images in memory; give test=(images, labels)")
    if isinstance(test, tuple):
        if len(test) != 2:
            raise UsageError(f"test has {len(test)} parts; give the pair (images, labels)")
        tested = _split(test[0], test[1], groups=None, columns=columns, what="test images")
    elif test is not None:
        tested = _split(test, None, groups=None, columns=columns, what="test images")
    train, tested = _numbered_alike(train, tested)
    known = train.class_names
    written = _written(train, tested, known if class_names is None else _checked_names(class_names), folder)
    options = {**settings, "data.dataset": written}
    options |= {"data.image_column": IMAGE_COLUMN, "data.label_column": LABEL_COLUMN}
    return options | ({"data.group_column": GROUP_COLUMN} if train.groups is not None else {})


def _numbered_alike(train: _Split, test: _Split | None) -> tuple[_Split, _Split | None]:
    """Return the splits with the labels of the test split as the train split means them, where both say names.

    Two folders of torchvision's `ImageFolder`, for example, number their classes each for itself.
    """
    if test is None or test.class_names is None or test.labels.dtype.kind != "i":
        return train, test
    if train.labels.dtype.kind != "i":
        return train, replace(test, labels=np.array(test.class_names)[test.labels])
    if train.class_names is None or train.class_names == test.class_names or test.labels.min() < 0:
        return train, test
    names = tuple(dict.fromkeys((*train.class_names, *test.class_names)))
    numbers = np.array([names.index(name) for name in test.class_names], np.int64)
    return replace(train, class_names=names), replace(test, labels=numbers[test.labels], class_names=names)


def _checked_names(class_names: object) -> tuple[str, ...]:
    """Return class names as a user gave them.

    Raises:
        UsageError: they are no list of texts.
    """
    names = list(class_names) if isinstance(class_names, Iterable) and not isinstance(class_names, str) else []
    if not names or isinstance(class_names, Mapping | Set) or not all(isinstance(name, str) for name in names):
        raise UsageError("class_names must be a list of texts, one for each class in its order")
    return tuple(str(name) for name in names)


def _named(images: str | Path) -> str:
    """Return a data set's name, or `KIND:PATH` for a path whose kind can be seen."""
    text = str(images)
    kind, separator, _ = text.partition(":")
    if (separator and kind in KINDS) or not is_there(images):
        if isinstance(images, Path):
            raise UsageError(f"there is no {text}; give a path that exists, or a data set's name as a text")
        return text
    path = Path(images).expanduser()
    found = kind_of_file(path) if path.is_file() else suggestion(path, kind="").partition(":")[0].removeprefix("write ")
    if found not in KINDS:
        raise UsageError(f"{text!r} is a path of no known kind; write KIND:PATH with KIND {', '.join(KINDS)}")
    return f"{found}:{text}"


def _columns(settings: Mapping[str, Any]) -> DataConfig:
    """Return the configured names of a frame's columns."""
    chosen = {name: settings[f"data.{name}"] for name in _COLUMNS if f"data.{name}" in settings}
    for name, column in chosen.items():
        if not isinstance(column, str) or not column:
            raise UsageError(f"data.{name} is {column!r}; give the name of a column as a text")
    return DataConfig(**chosen)


def _split(images: Any, labels: GivenLabels, *, groups: GivenLabels, columns: DataConfig, what: str) -> _Split:
    dataset: Any = None
    if isinstance(images, Mapping | Set):
        parts = ", ".join(repr(str(part)) for part in list(images)[:_SHOWN]) if isinstance(images, Mapping) else ""
        advice = f"give one of its values ({parts})" if parts else "give a list, which has an order"
        raise UsageError(f"the {what} are a {type(images).__name__}; {advice}")
    if isinstance(images, pd.DataFrame):
        label_column = labels if isinstance(labels, str) else columns.label_column
        known = [label_column]
        if labels is None or isinstance(labels, str):
            labels = _column(images, label_column)
        if isinstance(groups, str):
            known.append(groups)
            groups = _column(images, groups)
        elif groups is None and columns.group_column in images.columns:
            known.append(columns.group_column)
            groups = images[columns.group_column]
        _check_order(images, labels=labels, groups=groups)
        images = _images_of_frame(images, columns.image_column, without=known)
    elif labels is None:
        dataset, items = images, taken_apart(images, columns, what=what)
        images, labels = items.images, items.labels
        groups = items.groups if groups is None else groups
    elif isinstance(images, pd.Series):
        _check_order(images, labels=labels, groups=groups)
    if isinstance(labels, str) or isinstance(groups, str):
        raise UsageError(f"a single text names a column of a pandas frame, and the {what} are no frame")
    taken, numbers = _pictures(images, what=what), _labels(labels, what=f"labels of the {what}")
    if len(taken) != len(numbers):
        raise UsageError(f"there are {len(taken):,} {what} with {len(numbers):,} labels; give one for each")
    if not len(taken):
        raise UsageError(f"there are no {what}")
    belonging = None if groups is None else _groups(groups, len(taken))
    class_names = None
    if dataset is not None and numbers.dtype.kind == "i":
        class_names = known_names(dataset, numbers, label_column=columns.label_column)
    return _Split(images=taken, labels=numbers, groups=belonging, class_names=class_names)


def _check_order(images: "pd.DataFrame | pd.Series[Any]", *, labels: GivenLabels, groups: GivenLabels) -> None:
    """Make sure that what belongs to the images is in their order.

    Raises:
        UsageError: its index holds the same in another order, so that its rows belong to other images.
    """
    for what, values in (("labels", labels), ("groups", groups)):
        if not isinstance(values, pd.Series) or values.index.equals(images.index):
            continue
        if len(values) == len(images) and values.index.sort_values().equals(images.index.sort_values()):
            raise UsageError(f"the {what} have the images' index in another order; give {what}.loc[images.index]")


def _images_of_frame(frame: pd.DataFrame, image_column: str, *, without: Sequence[str]) -> Any:
    """Return a column of images, or where there is none of that name, columns of pixels."""
    if image_column not in frame.columns:
        others = [column for column in frame.columns if column not in without]
        if is_flat_image(len(others)) and all(frame[column].dtype.kind in "biuf" for column in others):
            by_name = {str(column): column for column in others}
            return frame[[by_name[name] for name in pixels_in_order(list(by_name))]].to_numpy()
    return list(_column(frame, image_column))


def _column(frame: pd.DataFrame, name: str) -> "pd.Series[Any]":
    if name not in frame.columns:
        shown = ", ".join(repr(str(column)) for column in frame.columns[:12])
        raise UsageError(
            f"the frame has no column {name!r}; it has {shown}: choose with settings such as "
            '{"data.image_column": "NAME", "data.label_column": "NAME"}'
        )
    return frame[name]


def _plain(value: Any) -> Any:
    """Return a tensor as an array, and everything else as it is.

    Raises:
        UsageError: a tensor that NumPy has no form for, or an array of which a part is masked.
    """
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise UsageError("a part of an array is masked; fill it in, or leave these images out")
        return value.data
    if not isinstance(value, torch.Tensor):
        return value
    try:
        plain = value.detach().cpu()
        return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()  # which NumPy does not have
    except (TypeError, RuntimeError) as error:
        raise UsageError(f"a tensor cannot be read ({first_line(error)}); give a dense one of numbers") from error


def _pictures(images: Any, *, what: str) -> npt.NDArray[Any] | list[bytes]:
    """Return an array of numbers where the images are or make one, else each as the bytes of a file."""
    images = _plain(images)
    if not isinstance(images, Iterable) or getattr(images, "ndim", 1) == 0:
        raise UsageError(f"{what} are a {type(images).__name__}; give an array or a list of them")
    if isinstance(images, np.ndarray) and images.dtype.kind == "O" and images.ndim > 1:
        images = np.array(images.tolist())  # arrays of one shape in an array of objects
    if not isinstance(images, np.ndarray) or images.dtype.kind in "OU":
        items = [_plain(image) for image in images]
        arrays = [item for item in items if isinstance(item, np.ndarray) and item.dtype.kind != "O"]
        if len(arrays) < len(items) or len({(array.shape, array.dtype.kind) for array in arrays}) != 1:
            return [_file_bytes(item, where=f"{what}[{number}]") for number, item in enumerate(items)]
        images = np.stack(arrays)
    if images.dtype.kind not in "biuf" or images.dtype.itemsize > 8:
        raise UsageError(f"{what} must hold numbers, not {images.dtype}")
    is_flat_or_gray = images.ndim in (2, 3)
    if not is_flat_or_gray and not (images.ndim == 4 and {images.shape[1], images.shape[3]} & {1, 3, 4}):
        raise UsageError(
            f"{what} must be (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1, 3 or 4, not {images.shape}"
        )
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        first = int(np.flatnonzero(~np.isfinite(images.reshape(len(images), -1)).all(1))[0])
        raise UsageError(f"{what}[{first}] holds numbers that are not finite; repair it or leave it out")
    numbers: npt.NDArray[Any] = images
    return numbers


def _file_bytes(image: Any, *, where: str) -> bytes:
    """Return an image as the bytes of a file."""
    if isinstance(image, Mapping):  # as Hugging Face holds images that are not decoded
        image = image.get("bytes") or image.get("path")
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | Path):
        try:
            return Path(image).expanduser().read_bytes()
        except (OSError, ValueError, RuntimeError) as error:  # the last of a home that nobody has
            reason = error.strerror if isinstance(error, OSError) else None
            raise UsageError(f"{where}: cannot read {str(image)!r}: {reason or first_line(error)}") from error
    if isinstance(image, Image.Image):
        return _saved(image, where=where)
    if isinstance(image, list | tuple | np.ndarray):
        try:
            array = np.asarray(image)
        except ValueError as error:
            raise UsageError(f"{where}: rows of different lengths make no image") from error
        if array.dtype.kind in "biuf":
            return _png(array, where=where)
    is_missing = image is None or image is pd.NA or image is pd.NaT or (isinstance(image, float) and image != image)
    kind = "missing" if is_missing else f"a {type(image).__name__}"
    raise UsageError(f"{where} is {kind}; arrays, Pillow images, bytes of image files and paths are taken")


def _saved(image: Image.Image, *, where: str) -> bytes:
    """Save a Pillow image without loss, with the orientation that its file tells."""
    stream = io.BytesIO()
    try:
        if image.mode.startswith("I;16") and image.mode not in _PNG_MODES:  # other orders of bytes
            image = image.convert("I")
        if image.mode in _DEEP_MODES:
            image.save(stream, "TIFF")
        else:
            kept = image if image.mode in _PNG_MODES else image.convert(_TRANSPARENT.get(image.mode, "RGB"))
            kept.save(stream, "PNG", exif=image.getexif())
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(
            f"{where}: the image cannot be read ({first_line(error)}); repair it or leave it out"
        ) from error
    return stream.getvalue()


def _png(array: npt.NDArray[Any], *, where: str) -> bytes:
    """Encode one of several arrays that differ in shape: 8 bits, truth values, or floats from 0 to 1."""
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.kind == "f" and array.size and array.min() >= 0 and array.max() <= 1:
        array = np.rint(array * 255).astype(np.uint8)
    elif array.size and array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255:
        array = array.astype(np.uint8)
    if array.dtype != np.uint8:
        raise UsageError(
            f"{where}: arrays of different shapes must hold whole numbers from 0 to 255 or floats from 0 to 1"
        )
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise UsageError(f"{where} must be (H, W), (H, W, C) or (C, H, W) with C = 1, 3 or 4, not {array.shape}")
    if array.shape[2] == 4:
        return _saved(Image.fromarray(np.ascontiguousarray(array)), where=where)
    return encode_pngs(np.ascontiguousarray(array.transpose(2, 0, 1))[None])[0]


def _labels(labels: Any, *, what: str) -> npt.NDArray[Any]:
    """Return (N,) int64, or texts where any label is one.

    Raises:
        UsageError: a label is missing, or is neither a whole number nor a text; or not one label an image.
    """
    if isinstance(labels, Iterator | ValuesView):
        labels = list(labels)
    if isinstance(labels, list | tuple):
        labels = [value.item() if isinstance(value, torch.Tensor | np.ndarray) and value.size == 1 else value
                  for value in (_plain(one) for one in labels)]  # fmt: skip
    array = np.asarray(_plain(labels), object if _has_texts(labels) else None)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        advice = " (of one-hot rows give labels.argmax(1))" if array.ndim == 2 else ""
        raise UsageError(f"{what} must be one for each image, (N,), not {array.shape}{advice}")
    if array.dtype.kind in "mM":
        raise UsageError(f"{what} are times ({array.dtype}); whole numbers and texts are taken")
    if array.dtype.kind in "biu" and (array.dtype != np.uint64 or not array.size or array.max() < 2**63):
        return array.astype(np.int64)
    values = [_label(value, where=f"{what}, number {position}") for position, value in enumerate(array.tolist())]
    if any(isinstance(value, str) for value in values):
        return np.array([str(value) for value in values], np.str_)
    return np.array(values, np.int64)


def _has_texts(labels: Any) -> bool:
    return isinstance(labels, list | tuple) and any(isinstance(label, str) for label in labels)


def _label(value: Any, *, where: str) -> int | str:
    if value is None or value is pd.NA or value is pd.NaT or value == "" or value != value:
        raise UsageError(f"{where} is missing; fill it in, or leave the image out")
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"{where} is bytes that are no UTF-8 text; give texts") from error
    if isinstance(value, str):
        if "\0" in value:
            raise UsageError(f"{where} holds a NUL character; give it another name")
        return value
    if isinstance(value, bool | int | np.integer | np.bool_) and abs(int(value)) < 2**63:
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    raise UsageError(f"{where} is {str(value)[:50]!r}; whole numbers and texts are taken")


def _groups(groups: Any, count: int) -> npt.NDArray[np.str_]:
    given = list(groups) if isinstance(groups, Iterator | ValuesView) else _plain(groups)
    values = np.asarray(given, object).reshape(-1).tolist()
    if len(values) != count:
        raise UsageError(f"there are {count:,} images with {len(values):,} groups; give one for each")
    return np.array(
        ["" if value is None or value is pd.NA or value != value else str(value) for value in values], np.str_
    )


def _written(train: _Split, test: _Split | None, class_names: tuple[str, ...] | None, folder: Path) -> str:
    """Write the splits below `folder` unless they lie there already, and return the data set's name."""
    splits = {"train": train} | ({} if test is None else {"test": test})
    if all(isinstance(split.images, np.ndarray) for split in splits.values()):
        arrays: _Arrays = {} if class_names is None else {"class_names": np.array(class_names)}
        for name, split in splits.items():
            arrays |= {f"{name}_images": np.asarray(split.images), f"{name}_labels": split.labels}
            if split.groups is not None:
                arrays[f"{name}_{GROUP_COLUMN}"] = split.groups
        file = folder / "images.npz"
        _keep(folder, {file: arrays})
        return f"npz:{file}"
    _keep(folder, {folder / f"{name}.parquet": _table(split, class_names) for name, split in splits.items()})
    return f"parquet:{folder}"


def _keep(folder: Path, contents: Mapping[Path, "_Arrays | pa.Table"]) -> None:
    """Write files; where some lie in `folder` already, they must hold the same: a run goes on with its own images."""
    there = sorted(path for path in folder.glob("*") if path.suffix in (".npz", ".parquet"))
    if there:
        if set(there) != contents.keys() or not all(_is_in(path, content) for path, content in contents.items()):
            raise UsageError(
                f"{folder} holds other images or labels than those given; a run goes on with its own: choose another "
                "directory"
            )
        return
    for path, content in contents.items():
        try:
            write_atomically(path, partial(_write, content))
        except OSError as error:
            raise AugmentError(f"cannot write {path}: {error.strerror or error}; choose another directory") from error


def _write(content: "_Arrays | pa.Table", path: Path) -> None:
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
        return
    with open(path, "wb") as stream:
        np.savez(stream, allow_pickle=False, **content)


def _is_in(path: Path, content: "_Arrays | pa.Table") -> bool:
    """Tell whether a file holds this content."""
    try:
        if isinstance(content, pa.Table):
            return bool(pq.read_table(path).equals(content))
        with np.load(path, allow_pickle=False) as there:
            return set(there.files) == content.keys() and all(
                there[name].dtype == array.dtype and np.array_equal(there[name], array)
                for name, array in content.items()
            )
    except (pa.ArrowException, OSError, ValueError, EOFError):
        return False


def _table(split: _Split, class_names: tuple[str, ...] | None) -> pa.Table:
    """Return images, labels and groups as columns, with class names as Hugging Face has them."""
    columns = {IMAGE_COLUMN: pa.array(_all_bytes(split), pa.binary()), LABEL_COLUMN: pa.array(split.labels.tolist())}
    if split.groups is not None:
        columns[GROUP_COLUMN] = pa.array(split.groups.tolist(), pa.string())
    table = pa.table(columns)
    if class_names is None:
        return table
    features = {LABEL_COLUMN: {"names": list(class_names), "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _all_bytes(split: _Split) -> Iterator[bytes]:
    for number, image in enumerate(split.images):
        yield image if isinstance(image, bytes) else _png(image, where=f"images[{number}]")
