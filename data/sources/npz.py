"""`npz:PATH`: NumPy archives, as MedMNIST and many tutorials have them: arrays of images and of labels by name.

Names are read by their words: `train_images` and `train_labels` (MedMNIST; also `val_…`, `test_…`), `x_train` and
`y_train` (Keras), or `images` and `labels` where the file is one split. `class_names` may name the classes.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.files import given_path
from data.base.limits import MAX_DECODED_BYTES, MAX_IMAGES, check_limit
from data.config import DataConfig
from data.sources.advice import damage
from data.sources.arrays import ArrayReader
from data.sources.classes import Label
from data.sources.reading import Found, Record, read_found, read_unlabelled
from data.sources.source import Source
from data.sources.splits import FileKind, Split, assign_roles, list_files, split_named, words_of
from data.sources.unused_columns import unused_groups
from data.unlabelled import UnlabelledSource

NPZ = FileKind(
    kind="npz",
    suffixes=(".npz",),
    takes="npz:PATH takes a NumPy archive with arrays such as train_images and train_labels",
)
_SHOWN = 12
_SHORT = re.compile(r"(?i)^([xy]|[a-z]+(?=_))_?(tr|te)$")
_NPY_MAGIC = b"\x93NUMPY"
Role = Literal["images", "labels", "groups", "names"]

_ROLES: Mapping[str, Role] = {
    "images": "images", "image": "images", "imgs": "images", "img": "images", "x": "images", "data": "images",
    "pixels": "images", "xs": "images", "labels": "labels", "label": "labels", "lbls": "labels", "y": "labels",
    "ys": "labels", "targets": "labels", "target": "labels",
}  # fmt: skip
_NAMES = frozenset({"class_names", "label_names", "classes", "names"})


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The images of one split of one file, with their labels and groups as they are in the file."""

    file: Path
    key: str
    images: npt.NDArray[Any]
    labels: Sequence[Label | None]
    groups: Sequence[Label | None]


def load_npz(path: Path, config: DataConfig) -> Source:
    """Read a NumPy archive, or a folder of some.

    Raises:
        UsageError: no such file, or no arrays of images and labels in it.
        AugmentError: arrays of shapes that no images or labels have; further ones as `read_found`.
        CorruptFileError: a damaged file.
    """
    splits, names, facts = _read(path, config)
    named_test = None
    if config.test:
        others = _read(given_path(config.test), config)[0]
        named_test = others.get("test") or [part for of_split in others.values() for part in of_split]
    roles = assign_roles(splits, config, where=str(path), describe=_described, named_test=named_test)
    total = sum(len(part.images) for part in (*roles.train, *(roles.test or ())))
    check_limit(total, MAX_IMAGES, what=f"npz:{path}: number of images")
    return read_found(
        Found(
            where=f"npz:{path}",
            base=path if path.is_dir() else path.parent,
            train=_records(roles.train, config),
            test=None if roles.test is None else _records(roles.test, config),
            class_names=names,
            layout=roles.layout,
            facts=(*facts, *roles.facts),
        ),
        config,
    )


def npz_images(path: Path, config: DataConfig) -> UnlabelledSource:
    """Read all images of NumPy archives, of whatever split; arrays of labels are passed over.

    Raises:
        UsageError: no such file, or no array of images in it.
        AugmentError: an array of a shape that no images have; further ones as `read_unlabelled`.
        CorruptFileError: a damaged file.
    """
    parts: list[_Part] = []
    for file in (file for files in list_files(path, of=NPZ).splits.values() for file in files):
        arrays = _arrays(file)
        keys, unknown = _keys(arrays, config)
        named = [roles["images"] for roles in keys.values() if "images" in roles]
        if not named and len(unknown) == 1 and len(arrays) == 1:  # such as np.savez(file, images)
            named = unknown
        if not named:
            raise UsageError(f"{file} has no images by name; it has {_shown(arrays)}: {NPZ.takes}")
        parts += [_part(file, arrays, {"images": name}, config, is_test=True) for name in named]
    check_limit(sum(len(part.images) for part in parts), MAX_IMAGES, what=f"npz:{path}: number of images")
    base = path if path.is_dir() else path.parent
    found = Found(where=f"npz:{path}", base=base, train=_records(parts, config), test=None)
    return read_unlabelled(found, config)


def _read(path: Path, config: DataConfig) -> tuple[dict[Split, list[_Part]], tuple[str, ...] | None, tuple[str, ...]]:
    """Return the parts by split, the class names where a file says them, and what was left out."""
    listing = list_files(path, of=NPZ)
    splits: dict[Split, list[_Part]] = {}
    names: tuple[str, ...] | None = None
    facts = list(listing.facts)
    for of_file, files in listing.splits.items():
        for file in files:
            arrays = _arrays(file)
            keys, unknown = _keys(arrays, config)
            if not keys:
                raise UsageError(f"{file} has no images and labels by name; it has {_shown(arrays)}: {NPZ.takes}")
            if unknown:
                facts.append(f"arrays that are neither images nor labels were left out: {', '.join(unknown)}")
                facts += unused_groups(unknown, config, first_values=partial(_flat_values, arrays))
            names = names or _names(arrays, file)
            for split, roles in keys.items():
                role = split or of_file
                part = _part(file, arrays, roles, config, is_test=role != "train")
                splits.setdefault(role, []).append(part)
    return splits, names, tuple(facts)


def _flat_values(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> list[Any]:
    values: list[Any] = arrays[name].ravel().tolist()
    return values


def _arrays(file: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
        check_limit(size, MAX_DECODED_BYTES, what=f"{file}: unpacked size in bytes")
        with np.load(file, allow_pickle=False) as content:
            members = {name: content[name] for name in content.files}
            return {name: array for name, array in members.items() if isinstance(array, np.ndarray)}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if "allow_pickle" in str(error):
            reason = "it holds Python objects, which are never loaded; save plain arrays"
        elif _is_single_array(file):
            reason = "it is a single array (.npy); save images and labels together with numpy.savez"
        else:
            reason = damage(file) or "restore it from a copy"
        raise CorruptFileError(f"{file} is truncated or no NumPy archive of plain arrays; {reason}") from error


def _is_single_array(file: Path) -> bool:
    try:
        with open(file, "rb") as stream:
            return stream.read(len(_NPY_MAGIC)) == _NPY_MAGIC
    except OSError:
        return False


def _keys(
    arrays: Mapping[str, npt.NDArray[Any]], config: DataConfig
) -> tuple[dict[Split | None, dict[Role, str]], list[str]]:
    """Return the arrays' names by split and role, and names that mean nothing here."""
    found: dict[Split | None, dict[Role, str]] = {}
    unknown = []
    for name in arrays:
        if name.lower() in _NAMES:
            continue
        roles: set[Role] = {_ROLES[word] for word in words_of(_spaced(name)) if word in _ROLES}
        if config.group_column and config.group_column.lower() in name.lower():
            roles = {"groups"}
        split = split_named(_spaced(name))
        if len(roles) != 1 or (role := roles.pop()) in found.get(split, {}):
            unknown.append(name)
        else:
            found.setdefault(split, {})[role] = name
    if not found and set(unknown) == {"arr_0", "arr_1"}:  # np.savez(file, images, labels)
        return {None: {"images": "arr_0", "labels": "arr_1"}}, []
    return found, unknown


def _spaced(name: str) -> str:
    """Return a name with its first letter apart where a split's name follows: Xtrain is x train, x_tr is x_train."""
    name = _SHORT.sub(lambda found: f"{found[1]}_{'train' if found[2].lower() == 'tr' else 'test'}", name)
    apart = re.fullmatch(r"([xyXY])([a-zA-Z]+)", name)
    return f"{apart[1]} {apart[2]}" if apart and split_named(apart[2]) is not None else name


def _part(
    file: Path, arrays: Mapping[str, npt.NDArray[Any]], roles: Mapping[Role, str], config: DataConfig, *, is_test: bool
) -> _Part:
    if "images" not in roles:
        raise UsageError(f"{file} has no images to its {next(iter(roles.values()))}; it has {_shown(arrays)}")
    key = roles["images"]
    images = arrays[key]
    if images.ndim not in (2, 3, 4) or (images.ndim == 4 and not {images.shape[1], images.shape[3]} & {1, 3, 4}):
        raise AugmentError(
            f"{file}: {key} has the shape {images.shape}; (N, H, W), (N, H, W, C), (N, C, H, W) or flat rows are read"
        )
    if "labels" not in roles and not is_test:
        raise UsageError(f"{file} has images ({key}) and no labels by name; it has {_shown(arrays)}: {NPZ.takes}")
    nothing: list[Label | None] = [None] * len(images)
    labels = nothing if "labels" not in roles else _labels(arrays[roles["labels"]], where=f"{file}: {roles['labels']}")
    groups = nothing if "groups" not in roles else _values(arrays[roles["groups"]].reshape(-1))
    for what, values in (("labels", labels), (config.group_column, groups)):
        if len(values) != len(images):
            raise AugmentError(f"{file}: {len(values):,} {what} for the {len(images):,} images of {key}")
    return _Part(file=file, key=key, images=images, labels=labels, groups=groups)


def _labels(array: npt.NDArray[Any], *, where: str) -> Sequence[Label | None]:
    """Return labels from (N,), (N, 1) or rows of which one number is 1 and the others 0."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if (
        array.ndim == 2
        and array.dtype.kind in "biuf"
        and ((array != 0).sum(1) == 1).all()
        and (array.max(1) == 1).all()
    ):
        array = array.argmax(1)
    if array.ndim != 1:
        raise AugmentError(f"{where} has the shape {array.shape}; one label an image is expected")
    if array.dtype.kind == "S":
        array = _decoded(array, where=where)
    if array.dtype.kind not in "biufU":
        raise AugmentError(f"{where} is of type {array.dtype}; whole numbers or texts are expected")
    values = _values(array)
    if any(isinstance(value, float) for value in values):
        raise AugmentError(f"{where} holds numbers that are not whole; whole numbers or texts are expected")
    return values


def _decoded(array: npt.NDArray[Any], *, where: str) -> npt.NDArray[np.str_]:
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise AugmentError(f"{where} holds bytes that are no UTF-8 text; save texts") from error


def _values(array: npt.NDArray[Any]) -> list[Label | None]:
    """Return whole numbers and texts; NaN and empty texts are None."""
    values: list[Any] = array.tolist()
    if array.dtype.kind in "biu":
        return [int(value) for value in values]
    if array.dtype.kind == "f":
        return [None if value != value else int(value) if value.is_integer() else value for value in values]
    return [str(value) or None for value in values]


def _names(arrays: Mapping[str, npt.NDArray[Any]], file: Path) -> tuple[str, ...] | None:
    for name, array in arrays.items():
        if name.lower() in _NAMES:
            if array.dtype.kind == "S":
                array = _decoded(array, where=f"{file}: {name}")
            if array.ndim != 1 or array.dtype.kind != "U":
                raise AugmentError(f"{file}: {name} must be a list of texts, it is {array.shape} {array.dtype}")
            return tuple(array.tolist())
    return None


def _shown(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:_SHOWN]) or "no arrays"


def _described(parts: Sequence[_Part]) -> str:
    return ", ".join(f"{part.file.name} {part.key} ({len(part.images):,})" for part in parts)


def _records(parts: Sequence[_Part], config: DataConfig) -> Iterator[Record]:
    arrays = ArrayReader(ground=config.ground)
    for position, part in enumerate(parts):
        if position == 0 and part.images.ndim == 2:
            arrays.look_at(part.images)
        for row, (image, label, group) in enumerate(zip(part.images, part.labels, part.groups, strict=True)):
            where = f"{part.file}: {part.key}, row {row}"
            yield Record(where, partial(arrays.picture, image, where=where), label, group)
