"""Columns of images, labels and groups in Parquet or Arrow tables, as Hugging Face, pandas and others write them.

Images may be PNG, JPEG, … bytes (plain or in Hugging Face's `struct<bytes, path>`; the path is never opened), or
numbers: nested lists (H, W) or (H, W, C), flat squares, or fixed-shape tensors.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.limits import MAX_IMAGES, check_limit
from data.base.names import name_like
from data.config import DataConfig
from data.decoding import Picture, decode_image
from data.sources.arrays import ArrayReader
from data.sources.classes import Label, group_label
from data.sources.named_files import read_named_image
from data.sources.reading import Found, Read, Record, read_found, read_unlabelled
from data.sources.row_splits import split_rows
from data.sources.source import Source
from data.sources.splits import FileKind, assign_files, list_files, partition_values
from data.sources.unused_columns import unused_columns
from data.unlabelled import UnlabelledSource

BATCH_ROWS = 512
_SHOWN = 12


class TableFile(Protocol):
    """An opened file that holds a table."""

    @property
    def path(self) -> Path: ...

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def num_rows(self) -> int: ...

    def batches(self, columns: Sequence[str], *, large: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `columns` in batches that fit into memory, whatever the column `large` repeats."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Where a file's images, labels and groups are: in a column, or the same for all of its rows.

    Attributes:
        label, group: name of the column; None where it is `constants`' or nowhere.
        constants: what the folders above the file say.
        class_names: as the schema says them, or None.
    """

    image: str
    label: str | None
    group: str | None
    constants: Mapping[str, str]
    class_names: tuple[str, ...] | None
    facts: tuple[str, ...] = field(default=(), compare=False)

    def wanted(self) -> list[str]:
        return list(dict.fromkeys(name for name in (self.image, self.label, self.group) if name is not None))


def table_images(
    path: Path, config: DataConfig, *, of: FileKind, open_file: Callable[[Path], TableFile]
) -> UnlabelledSource:
    """Read all images of tables, of whatever split; no other column is looked at.

    Raises:
        UsageError: no such file or folder, or no such column.
        CorruptFileError: a damaged file.
        Further ones as `read_unlabelled`.
    """
    listing = list_files(path, of=of)
    files = [open_file(file) for of_split in listing.splits.values() for file in of_split]
    check_limit(sum(file.num_rows for file in files), MAX_IMAGES, what=f"{of.kind}:{path}: number of rows")
    columns = [
        _Columns(
            image=_single_column(file, "image_column", config.image_column),
            label=None,
            group=None,
            constants={},
            class_names=None,
        )
        for file in files
    ]

    def records() -> Iterator[Record]:
        for file, of_file in zip(files, columns, strict=True):
            yield from _records(file, of_file, config)

    base = path if path.is_dir() else path.parent
    return read_unlabelled(Found(where=f"{of.kind}:{path}", base=base, train=records(), test=None), config)


def load_tables(path: Path, config: DataConfig, *, of: FileKind, open_file: Callable[[Path], TableFile]) -> Source:
    """Read a data set of tables; files named for a test split are its test split, else one is held out.

    Raises:
        UsageError: no such file or folder, or no such column.
        AugmentError: labels of a type that names no classes, class names that differ between files; further ones as
            `read_found`.
        CorruptFileError: a damaged file.
    """
    where = f"{of.kind}:{path}"
    roles = assign_files(path, config, of=of)
    train = [open_file(file) for file in roles.train]
    test = [open_file(file) for file in roles.test or ()]
    check_limit(sum(file.num_rows for file in (*train, *test)), MAX_IMAGES, what=f"{where}: number of rows")
    columns = [_columns(file, config, is_test=False) for file in train]
    columns += [_columns(file, config, is_test=True) for file in test]
    for file, found in zip((*train, *test), columns, strict=True):
        if found.class_names != columns[0].class_names:
            raise AugmentError(
                f"{file.path}: its class names differ from those of {train[0].path}; convert the files alike"
            )

    def records(files: Sequence[TableFile], first: int) -> Iterator[Record]:
        for file, found in zip(files, columns[first:], strict=False):
            yield from _records(file, found, config)

    described = Found(
        where=where,
        base=path if path.is_dir() else path.parent,
        train=records(train, 0),
        test=None if roles.test is None else records(test, len(train)),
        class_names=columns[0].class_names,
        layout=roles.layout,
        facts=(*roles.facts, *columns[0].facts),
    )
    if config.split_column:
        rows = split_rows(
            [value for file in (*train, *test) for value in _split_values(file, config)], config, where=where
        )
        described = replace(
            described,
            train=rows.records(records((*train, *test), 0), "train"),
            test=rows.records(records((*train, *test), 0), "test") if rows.has_test else None,
            layout=rows.layout,
            facts=(*rows.facts, *columns[0].facts),
        )
    unused = unused_columns(train[0].schema.names, config, first_values=partial(_first_values, train[0]))
    described = replace(described, facts=(*described.facts, *unused))
    return read_found(described, config)


def _split_values(file: TableFile, config: DataConfig) -> list[object]:
    """Return what the split column says of each row of a file."""
    name = config.split_column
    if name in partition_values(file.path):
        return [partition_values(file.path)[name]] * file.num_rows
    if file.schema.names.count(name) == 0:
        name = name_like(name, file.schema.names) or name
    if file.schema.names.count(name) != 1:
        known = ", ".join(repr(other) for other in file.schema.names[:_SHOWN])
        raise UsageError(
            f"{file.path} has no single column {name!r}; it has {known}: choose with --set data.split_column=NAME"
        )
    return [value for batch in file.batches([name], large=name) for value in _plain_values(batch.column(name))]


def _first_values(file: TableFile, name: str) -> list[object]:
    if file.schema.names.count(name) != 1:
        return []
    first = next(iter(file.batches([name], large=name)), None)
    return [] if first is None else _plain_values(first.column(name))


def _columns(file: TableFile, config: DataConfig, *, is_test: bool) -> _Columns:
    constants = partition_values(file.path)
    schema = file.schema
    facts: list[str] = []

    def single(option: str, column: str, *, may_lack: bool) -> str | None:
        if schema.names.count(column) == 0 and column in constants:
            return None
        if may_lack and schema.names.count(column) == 0 and name_like(column, schema.names) is None:
            return None
        return _single_column(file, option, column)

    image = single("image_column", config.image_column, may_lack=False) or config.image_column
    label = single("label_column", config.label_column, may_lack=is_test)
    group = single("group_column", config.group_column, may_lack=is_test) if config.group_column else None
    class_names = _class_names(schema, label or config.label_column, facts)
    is_numbered = label is not None and pa.types.is_integer(schema.field(label).type)
    if class_names is None and is_numbered and pa.types.is_struct(schema.field(image).type):
        facts.append("the files hold no class names (pandas drops them): classes are called by their numbers")
    return _Columns(
        image=image,
        label=label,
        group=group,
        constants=constants,
        class_names=class_names,
        facts=tuple(facts),
    )


def _single_column(file: TableFile, option: str, column: str) -> str:
    names = file.schema.names
    if names.count(column) == 1:
        return column
    alike = name_like(column, names) if names.count(column) == 0 else None
    if alike is not None:
        return alike
    known = ", ".join(repr(name) for name in names[:_SHOWN])
    raise UsageError(
        f"{file.path} has no single column {column!r}; it has {known}: choose with --set data.{option}=NAME"
    )


def _class_names(schema: pa.Schema, label_column: str, facts: list[str]) -> tuple[str, ...] | None:
    """Return the names of Hugging Face's `ClassLabel`, where the schema describes the column so."""
    content = (schema.metadata or {}).get(b"huggingface")
    if content is None:
        return None
    try:
        feature: Any = json.loads(content)["info"]["features"].get(label_column)
        while isinstance(feature, dict) and "feature" in feature:
            feature = feature["feature"]  # a sequence of labels
        if isinstance(feature, list):
            (feature,) = feature
        if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
            return None
        names = feature["names"]
        if isinstance(names, dict):  # as Hugging Face's cards have them: number to name
            names = [names[number] for number in sorted(names, key=int)]
        return tuple(str(name) for name in names) if isinstance(names, list) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        facts.append("what the files' schema says for Hugging Face cannot be read, nor class names in it")
        return None


def _records(file: TableFile, columns: _Columns, config: DataConfig) -> Iterator[Record]:
    constant_label = _constant(columns.constants.get(config.label_column))
    constant_group = columns.constants.get(config.group_column)
    arrays: ArrayReader | None = None
    row = 0
    for batch in file.batches(columns.wanted(), large=columns.image):
        where = f"{file.path}, row"
        labels: Sequence[Label | None] = [constant_label] * len(batch)
        if columns.label is not None:
            labels = _labels(batch.column(columns.label), where=f"{where} {row}")
        groups: Sequence[Label | None] = [constant_group] * len(batch)
        if columns.group is not None:
            groups = [group_label(value) for value in _plain_values(batch.column(columns.group))]
        column = _storage(batch.column(columns.image), config, where=f"{where} {row}")
        names_files = _is_text(column.type)
        if arrays is None and not names_files and not _is_encoded(column.type):
            arrays = _array_reader(batch.column(columns.image), column, config)
        for offset, (value, label, group) in enumerate(zip(column, labels, groups, strict=True)):
            here = f"{where} {row + offset}"
            if names_files:
                read: Read = partial(read_named_image, value.as_py(), table=file.path, config=config, where=here)
            else:
                read = _reader(value, arrays, here, config.ground)
            yield Record(here, read, label, group)
        row += len(batch)


def _constant(text: str | None) -> Label | None:
    """Return a folder's value, as a number where it is one; Hive's name for a missing one is None."""
    if text is None or text == "__HIVE_DEFAULT_PARTITION__":
        return None
    return int(text) if text.isascii() and text.isdecimal() else text


def _labels(column: pa.Array, *, where: str) -> list[Label | None]:
    """Return labels as whole numbers or texts; None where one is missing."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if _is_listed(kind):
        if column.null_count == 0 and set(pa.compute.list_value_length(column).to_pylist()) == {1}:
            return _labels(column.flatten(), where=where)
        raise AugmentError(f"{where}: labels are of type {kind}; one label an image is expected")
    values = column.to_pylist()
    if pa.types.is_floating(kind):
        numbers = [None if value is None or value != value else value for value in values]  # NaN differs from itself
        if all(value is None or value.is_integer() for value in numbers):
            return [None if value is None else int(value) for value in numbers]
        first = next(value for value in numbers if value is not None and not value.is_integer())
        raise AugmentError(
            f"{where}: labels such as {first:g} are no whole numbers; whole numbers or texts are expected"
        )
    if _is_encoded(kind):
        try:
            return [None if value is None else value.decode() for value in values]
        except UnicodeDecodeError as error:
            raise AugmentError(f"{where}: labels are bytes that are no UTF-8 text; store texts") from error
    if _is_text(kind) or pa.types.is_null(kind):
        return list(values)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return [None if value is None else int(value) for value in values]
    raise AugmentError(f"{where}: labels are of type {kind}; whole numbers or texts are expected")


def _plain_values(column: pa.Array) -> list[Any]:
    """Return a column's values; of times the numbers that count them: Python may know neither the year nor the zone."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain_values(column.dictionary_decode())
    if pa.types.is_temporal(kind) and kind.bit_width in (32, 64):
        column = column.view(pa.int32() if kind.bit_width == 32 else pa.int64())
    values: list[Any] = column.to_pylist()
    return values


def _storage(column: pa.Array, config: DataConfig, *, where: str) -> pa.Array:
    """Return the values that hold the images: bytes, lists of numbers, or names of files in a configured folder."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if pa.types.is_struct(kind):
        held = kind.get_field_index("bytes") >= 0
        if config.image_folder and kind.get_field_index("path") >= 0:
            held = held and pa.compute.struct_field(column, "bytes").null_count < len(column)
        elif not held:
            raise AugmentError(f"{where}: images are of type {kind}; a struct with 'bytes' is expected{_paths(kind)}")
        column = pa.compute.struct_field(column, "bytes" if held else "path")
    kind = column.type
    if config.image_folder and _is_text(kind):
        return column
    if not (_is_encoded(kind) or _is_listed(kind)):
        paths = _paths(kind)
        raise AugmentError(f"{where}: images are of type {kind}; bytes or lists of numbers are expected{paths}")
    return column


def _paths(kind: pa.DataType) -> str:
    """Say what to do where images are names of files, as they seem to be."""
    if not (_is_text(kind) or (pa.types.is_struct(kind) and kind.get_field_index("path") >= 0)):
        return ""
    return " (names of files are opened where --set data.image_folder=PATH names their folder)"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_encoded(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _is_listed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _array_reader(column: pa.Array, storage: pa.Array, config: DataConfig) -> ArrayReader:
    """Return the reader of a column's numbers, which has looked at the first rows."""
    kind = column.type
    is_tensor = isinstance(kind, pa.FixedShapeTensorType)
    arrays = ArrayReader(
        ground=config.ground,
        shape=tuple(kind.shape) if is_tensor else None,
        axes=tuple(kind.permutation) if is_tensor and kind.permutation is not None else None,
    )
    if not _is_listed(storage.type.value_type):
        rows = [_numbers(value, where="") for value in storage[:BATCH_ROWS] if value.is_valid]
        rows = [row for row in rows if row.dtype.kind in "biuf" and len(row) == len(rows[0])]
        if rows:
            arrays.look_at(np.stack(rows))
    return arrays


def _reader(value: Any, arrays: ArrayReader | None, where: str, ground: int) -> Read:
    if not value.is_valid:
        return partial(_missing, where)
    if arrays is None:
        return partial(decode_image, value.as_py(), where=where, ground=ground)
    return partial(_array_picture, value, arrays, where)


def _missing(where: str) -> NoReturn:
    raise CorruptFileError(f"{where}: the image is missing (its bytes are null, and paths are not followed)")


def _array_picture(value: Any, arrays: ArrayReader, where: str) -> Picture:
    return arrays.picture(_numbers(value, where=where), where=where)


def _numbers(value: Any, *, where: str) -> npt.NDArray[Any]:
    """Return a list scalar's numbers, in as many dimensions as it nests.

    Raises:
        CorruptFileError: lists that differ in length, or missing numbers.
    """
    inner = value.values
    shape = [len(inner)]
    while _is_listed(inner.type):
        lengths = set(pa.compute.list_value_length(inner).to_pylist())
        if len(lengths) != 1 or None in lengths:
            raise CorruptFileError(f"{where}: the rows of the raw image differ in length")
        shape += lengths
        inner = inner.flatten()
    if inner.null_count:
        raise CorruptFileError(f"{where}: the raw image lacks numbers")
    return np.asarray(inner.to_numpy(zero_copy_only=False)).reshape(shape)
