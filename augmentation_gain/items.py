"""Data sets that give images with their labels one by one (torch's, torchvision's, Hugging Face's), taken apart."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Subset

from data.base.errors import UsageError
from data.base.limits import MAX_IMAGES, check_limit
from data.config import DataConfig

_READ_TWICE = 8  # items, to find out whether they are the same each time
_OWN_LABELS = ("targets", "labels", "_labels")  # as torchvision's data sets call them


@dataclass(frozen=True, kw_only=True)
class Items:
    """What a data set's items hold, in order: images, labels as they are, and groups where all items have one."""

    images: list[Any]
    labels: list[Any]
    groups: list[Any] | None


def taken_apart(dataset: Any, columns: DataConfig, *, what: str) -> Items:
    """Take the items of a data set apart, which has them by number or gives them one after the other.

    Raises:
        UsageError: items that are no pairs of image and label, or that differ each time they are read.
    """
    if isinstance(dataset, np.ndarray | torch.Tensor):
        raise UsageError(f"{what} need labels; give one for each, or name a data set such as 'mnist' or 'folder:PATH'")
    if isinstance(dataset, DataLoader):
        raise UsageError(f"the {what} are a DataLoader, which gives batches; give its data set, loader.dataset")
    is_numbered = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if not is_numbered and not isinstance(dataset, Iterable):
        raise UsageError(f"a {type(dataset).__name__} gives no items; give a data set of pairs, or arrays")
    images, labels, groups = [], [], []
    given: Iterator[Any] = (dataset[number] for number in range(len(dataset))) if is_numbered else iter(dataset)
    for position, item in enumerate(given):
        check_limit(position + 1, MAX_IMAGES, what=f"number of {what}")
        if isinstance(item, Mapping):
            missing = [name for name in (columns.image_column, columns.label_column) if name not in item]
            if missing:
                raise UsageError(
                    f"item {position} of the {what} has no {missing[0]!r}, it has {', '.join(map(str, item))}; choose "
                    "with data.image_column and data.label_column in settings"
                )
            image, label = item[columns.image_column], item[columns.label_column]
            if columns.group_column in item:
                groups.append(item[columns.group_column])
        elif isinstance(item, tuple | list) and len(item) >= 2:
            image, label = item[0], item[1]
        else:
            raise UsageError(
                f"item {position} of the {what} is a {type(item).__name__}, not a pair of image and label; give "
                "labels, or a data set of pairs"
            )
        images.append(image)
        labels.append(label)
    if is_numbered:
        _check_same_again(dataset, images, columns, what=what)
    return Items(images=images, labels=labels, groups=groups if len(groups) == len(images) and groups else None)


def known_names(dataset: Any, labels: npt.NDArray[Any], *, label_column: str) -> tuple[str, ...] | None:
    """Return the class names that a data set knows, or that of which it is a part; None where they may not hold.

    Names count the labels of the data set that knows them. Where something in between renumbers these (a
    `target_transform`, a data set around it), they would name the wrong classes: then there are none.

    Args:
        labels: (N,) int64, as the data set's items have them.
    """
    naming = _naming(dataset, label_column)
    if naming is None or not len(labels) or labels.max() >= len(naming.names):
        return None
    if naming.numbers is None:
        return None if naming.may_renumber else naming.names
    return naming.names if np.array_equal(naming.numbers, labels) else None


@dataclass(frozen=True, kw_only=True)
class _Naming:
    """Class names, and the numbers by which a data set calls its images' classes.

    Attributes:
        numbers: (N,) int64; None where it does not say them apart from its items.
        may_renumber: whether the items' labels may be others.
    """

    names: tuple[str, ...]
    numbers: npt.NDArray[np.int64] | None
    may_renumber: bool


def _naming(dataset: Any, label_column: str) -> _Naming | None:
    features = getattr(dataset, "features", None)
    feature = features.get(label_column) if isinstance(features, Mapping) else None
    names = getattr(feature, "names", None) or getattr(dataset, "classes", None)
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        numbers = _own_numbers(dataset, label_column if feature is not None else None)
        return _Naming(names=tuple(names), numbers=numbers, may_renumber=_changes_labels(dataset))
    if isinstance(dataset, ConcatDataset):
        return _joined([_naming(part, label_column) for part in dataset.datasets])
    inner = _naming(dataset.dataset, label_column) if getattr(dataset, "dataset", None) is not None else None
    if inner is None:
        return None
    numbers, indices = inner.numbers, _whole_numbers(getattr(dataset, "indices", None))
    if numbers is not None and indices is not None:
        numbers = numbers[indices] if len(indices) and indices.max() < len(numbers) else None
    is_part = isinstance(dataset, Subset) and type(dataset).__getitem__ is Subset.__getitem__
    return _Naming(names=inner.names, numbers=numbers, may_renumber=inner.may_renumber or not is_part)


def _joined(parts: list[_Naming | None]) -> _Naming | None:
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts) or len({part.names for part in known}) > 1:
        return None
    numbers = [part.numbers for part in known if part.numbers is not None]
    return _Naming(
        names=known[0].names,
        numbers=np.concatenate(numbers) if len(numbers) == len(known) else None,
        may_renumber=any(part.may_renumber for part in known),
    )


def _own_numbers(dataset: Any, column: str | None) -> npt.NDArray[np.int64] | None:
    """Return the labels that a data set holds apart from its items: Hugging Face's in a column."""
    is_sized = hasattr(dataset, "__len__")
    if column is not None:
        held = [dataset.with_format(None)[column]] if hasattr(dataset, "with_format") and is_sized else []
    else:
        held = [getattr(dataset, name, None) for name in _OWN_LABELS]
    for values in held:
        numbers = _whole_numbers(values)
        if numbers is not None and is_sized and len(numbers) == len(dataset):
            return numbers
    return None


def _whole_numbers(values: Any) -> npt.NDArray[np.int64] | None:
    """Return (N,) int64, or None where they are nothing of the kind."""
    if values is None or isinstance(values, str | Mapping) or not hasattr(values, "__len__"):
        return None
    try:
        array = np.asarray(values if hasattr(values, "__array__") else list(values))
    except (TypeError, ValueError, RuntimeError):  # such as ragged rows, or a tensor on another device
        return None
    return array.astype(np.int64) if array.ndim == 1 and array.dtype.kind in "iu" else None


def _changes_labels(dataset: Any) -> bool:
    """Tell whether one of torchvision's data sets may give other labels than it holds."""
    both = getattr(dataset, "transforms", None)  # of image and label
    is_own = both is not None and not hasattr(both, "target_transform")
    return is_own or getattr(dataset, "target_transform", None) is not None


def _check_same_again(dataset: Any, images: list[Any], columns: DataConfig, *, what: str) -> None:
    """Read a few items again.

    Raises:
        UsageError: an image differs.
    """
    for position in range(0, len(images), max(1, len(images) // _READ_TWICE)):
        item = dataset[position]
        again = item[columns.image_column] if isinstance(item, Mapping) else item[0]
        if not _is_same(images[position], again):
            raise UsageError(
                f"item {position} of the {what} is another image each time it is read; leave random transforms out: "
                "the study augments the images that it trains on by itself"
            )


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Image.Image) and isinstance(other, Image.Image):
        return one.size == other.size and one.mode == other.mode and one.tobytes() == other.tobytes()
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return bool(one.shape == other.shape and (one == other).all())
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return True
