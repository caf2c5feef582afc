"""`jsonl:PATH`: JSON Lines, an object an image, as in Hugging Face's `metadata.jsonl`: a label and the name of a file.

Keys match in any case. Files that a table names are looked for in its own folder, or in `data.image_folder`. Pixels may
stand in the place of a name, as nested lists.
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from data.base.errors import AugmentError, CorruptFileError, UsageError, first_line
from data.base.limits import MAX_DECODED_BYTES, MAX_IMAGE_PIXELS, check_limit
from data.base.names import name_like
from data.config import DataConfig
from data.sources.advice import damage
from data.sources.arrays import ArrayReader
from data.sources.classes import Label, group_label
from data.sources.named_files import read_named_image
from data.sources.number_texts import numbers_of
from data.sources.reading import Read, Record
from data.sources.row_tables import FILE_COLUMNS, PIXEL_COLUMN, RowFiles, choose, load_rows, row_images, shown
from data.sources.source import Source
from data.sources.splits import FileKind
from data.unlabelled import UnlabelledSource

JSONL = FileKind(
    kind="jsonl",
    suffixes=(".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    takes="jsonl:PATH takes JSON Lines: in each a label and the name of an image file, or its pixels",
)
_LONGEST_LINE = 64 * MAX_IMAGE_PIXELS
_LOOKED_AT = 32  # rows that show which keys there are, and how flat pixels are ordered
_SHOWN = 40

Row = Mapping[str, Any]


def load_jsonl(path: Path, config: DataConfig) -> Source:
    """Read tables of images; see `load_rows`."""
    return load_rows(path, config, _files(config))


def jsonl_images(path: Path, config: DataConfig) -> UnlabelledSource:
    """Read all images of tables, of whatever split; see `row_images`."""
    return row_images(path, config, _files(config))


def _files(config: DataConfig) -> RowFiles:
    arrays = ArrayReader(ground=config.ground)

    def images(file: Path) -> Iterator[Record]:
        return _records(replace(_table(file, config, is_test=True), label=None, group=None), arrays, config)

    return RowFiles(
        kind=JSONL,
        records=lambda file, is_test: _records(_table(file, config, is_test=is_test), arrays, config),
        images=images,
        split_values=lambda file: _split_values(file, config),
        columns=lambda file: _columns(_first_rows(file)),
        first_values=_first_values,
    )


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Which keys of a file's objects are read; `label` and `group` are None where there is none.

    Attributes:
        first: the first objects.
    """

    path: Path
    first: Sequence[Row]
    image: str
    label: str | None
    group: str | None


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield each line's number, from 1 on, and its object.

    Raises:
        CorruptFileError: a line that is none, or a file that cannot be read.
        LimitError: too much of it.
    """
    number = total = 0
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb") as stream:
            while line := stream.readline(_LONGEST_LINE):
                number += 1
                total += len(line)
                check_limit(total, MAX_DECODED_BYTES, what=f"{path}: bytes of all lines")
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                row = json.loads(text) if text else {}
                if not isinstance(row, dict):
                    raise ValueError(f"it begins with {text[:20]!r}")
                if text:
                    yield number, row
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"{path}, line {number}: no UTF-8 text; {damage(path) or 'save it as UTF-8'}") from error
    except (ValueError, RecursionError) as error:
        reason = damage(path) or f"an object a line is expected, with no line breaks inside ({first_line(error)})"
        raise CorruptFileError(f"{path}, line {number}, is not JSON: {reason}") from error
    except (OSError, EOFError) as error:
        reason = damage(path) or "it is truncated or not what its name says"
        raise CorruptFileError(f"{path} cannot be read after line {number}: {reason} ({first_line(error)})") from error


def _first_rows(path: Path) -> list[Row]:
    rows = [row for _, row in islice(_rows(path), _LOOKED_AT)]
    if not rows:
        raise CorruptFileError(f"{path} holds no objects; {damage(path) or JSONL.takes}")
    return rows


def _columns(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for row in rows for key in row))


def _first_values(path: Path, name: str) -> list[object]:
    return [value for row in _first_rows(path) if not isinstance(value := row.get(name), dict | list)]


def _split_values(path: Path, config: DataConfig) -> Iterator[object]:
    column = _column(path, _columns(_first_rows(path)), "split", config.split_column)
    return (row.get(column) for _, row in _rows(path))


def _column(path: Path, names: Sequence[str], what: str, wanted: str) -> str:
    found = name_like(wanted, names)
    if found is None:
        raise UsageError(f"{path} has no column {wanted!r}; it has {shown(names)}: {choose(what)}")
    return found


def _table(path: Path, config: DataConfig, *, is_test: bool) -> _Table:
    rows = _first_rows(path)
    names = _columns(rows)
    chosen = name_like(config.image_column, names)
    is_chosen = chosen is not None and config.image_column != DataConfig.model_fields["image_column"].default
    likely = [name_like(name, names) for name in (config.image_column, *FILE_COLUMNS, PIXEL_COLUMN)]
    known = [name for name in likely if name is not None]
    held = [name for name in known if any(isinstance(row.get(name), str | list | dict) for row in rows)]
    image = chosen if is_chosen else next(iter((*held, *known)), None)  # files may be named by numbers
    if image is None:
        raise UsageError(f"{path} has neither pixels nor names of files; it has {shown(names)}: {choose('image')}")
    may_lack = is_test and name_like(config.label_column, names) is None
    lacks_group = not config.group_column or (is_test and name_like(config.group_column, names) is None)
    return _Table(
        path=path,
        first=rows,
        image=image,
        label=None if may_lack else _column(path, names, "label", config.label_column),
        group=None if lacks_group else _column(path, names, "group", config.group_column),
    )


def _records(table: _Table, arrays: ArrayReader, config: DataConfig) -> Iterator[Record]:
    flat = [row[table.image] for row in table.first if _is_flat(row.get(table.image))]
    if flat:
        arrays.look_at(np.array([one for one in flat if len(one) == len(flat[0])], np.float64))
    for number, row in _rows(table.path):
        where = f"{table.path}, line {number}"
        yield Record(
            where,
            _read(row.get(table.image), table.path, arrays, config, where=where),
            None if table.label is None else _label(row.get(table.label), where=where),
            None if table.group is None else _group(row.get(table.group), where=where),
        )


def _is_flat(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(type(number) in (int, float) for number in value)


def _read(value: Any, path: Path, arrays: ArrayReader, config: DataConfig, *, where: str) -> Read:
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        value = value["path"]
    if value is None or isinstance(value, str):
        return partial(read_named_image, value and value.strip(), table=path, config=config, where=where)
    if isinstance(value, list):
        return lambda: arrays.picture(numbers_of(value, where=where), where=where)
    if type(value) is int:
        return partial(read_named_image, str(value), table=path, config=config, where=where)
    return partial(_refuse, where, value)


def _refuse(where: str, value: object) -> NoReturn:
    raise CorruptFileError(
        f"{where}: {str(value)[:_SHOWN]} is no image; the name of a file, or lists of numbers are expected"
    )


def _label(value: object, *, where: str) -> Label | None:
    """Return a label as a whole number or a text, None where it is missing.

    Raises:
        AugmentError: it is something else.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value != value or value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, str):
        return value.strip() or None
    raise AugmentError(f"{where}: the label is {str(value)[:_SHOWN]}; one whole number or text an image is expected")


def _group(value: object, *, where: str) -> Label | None:
    if isinstance(value, list | dict):
        raise AugmentError(f"{where}: the group is {str(value)[:_SHOWN]}; a number or a text is expected")
    return group_label(value)
