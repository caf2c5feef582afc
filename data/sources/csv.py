"""`csv:PATH`: a row an image; its pixels in columns, as Kaggle has them, or all in one, or the name of its file.

With or without a line of column names: without, the first column is the label, or the one beside the files' names.
Names of columns match in any case. Files that a table names are looked for in its own folder, or in
`data.image_folder`.
"""

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TextIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from data.base.errors import AugmentError, CorruptFileError, UsageError, first_line
from data.base.limits import MAX_DECODED_BYTES, MAX_IMAGE_PIXELS, check_limit
from data.base.names import name_like, natural_key
from data.config import DataConfig
from data.decoding import Picture
from data.sources.advice import damage
from data.sources.arrays import ArrayReader, is_flat_image
from data.sources.classes import Label
from data.sources.folder import IMAGE_SUFFIXES
from data.sources.named_files import read_named_image
from data.sources.number_texts import looks_like_a_list, numbers_in
from data.sources.reading import Read, Record
from data.sources.row_tables import FILE_COLUMNS, PIXEL_COLUMN, RowFiles, choose, load_rows, row_images, shown
from data.sources.source import Source
from data.sources.splits import FileKind
from data.unlabelled import UnlabelledSource

CSV = FileKind(
    kind="csv",
    suffixes=(".csv", ".tsv", ".csv.gz", ".tsv.gz"),
    takes="csv:PATH takes a table with a label and pixels in each row, or a label and the name of an image file",
)
_NUMBERING = ("", "id", "index", "unnamed: 0", "imageid", "row")  # columns that count the rows
_BLOCK_BYTES = 16 * 2**20
_LOOKED_AT = 32
_BLANK_LINES = 100  # below the names of columns
_FRACTION = re.compile(r"[-+]?\d*\.\d+(e[-+]?\d+)?")
_MISSING = ("", "NA", "NaN", "nan", "null", "None")


@dataclass(frozen=True, kw_only=True)
class _Table:
    """How a file is to be read.

    Attributes:
        names: of all columns, in order.
        label, group, split: None where there is none.
        file: column of file names; "" where pixels are in the table.
        pixels: columns of the pixels.
        are_texts: whether there is one, which holds all of an image's numbers.
    """

    path: Path
    delimiter: str
    has_header: bool
    names: tuple[str, ...]
    label: str | None
    group: str | None
    split: str | None
    file: str
    pixels: tuple[str, ...]
    are_texts: bool

    def of_texts(self, column: str) -> "_Table":
        """Return the table with one column alone, of texts."""
        return replace(self, label=None, group=None, file=column, pixels=(), are_texts=False)


def load_csv(path: Path, config: DataConfig) -> Source:
    """Read tables of images; see `load_rows`."""
    return load_rows(path, config, _files(config))


def csv_images(path: Path, config: DataConfig) -> UnlabelledSource:
    """Read all images of tables, of whatever split; see `row_images`."""
    return row_images(path, config, _files(config))


def _files(config: DataConfig) -> RowFiles:
    arrays = ArrayReader(ground=config.ground)

    def images(file: Path) -> Iterator[Record]:
        return _records(replace(_table(file, config, is_test=True), label=None, group=None), arrays, config)

    return RowFiles(
        kind=CSV,
        records=lambda file, is_test: _records(_table(file, config, is_test=is_test), arrays, config),
        images=images,
        split_values=lambda file: _split_values(_table(file, config, is_test=False)),
        columns=lambda file: _table(file, config, is_test=False).names,
        first_values=lambda file, name: _first_values(_table(file, config, is_test=False), name),
    )


def _first_values(table: _Table, name: str) -> list[object]:
    first = next(_batches(table.of_texts(name)), None)
    return [] if first is None else first.column(name).to_pylist()


def _split_values(table: _Table) -> Iterator[str | None]:
    if table.split is None:
        raise UsageError(f"{table.path} has no line of column names, so none says which split a row belongs to")
    for batch in _batches(table.of_texts(table.split)):
        yield from batch.column(table.split).to_pylist()


def _table(path: Path, config: DataConfig, *, is_test: bool) -> _Table:
    first, second = _first_lines(path)
    delimiter = max(",;\t", key=first.count)
    cells, values = (_cells(line, delimiter) for line in (first, second or first))
    named = [number for number, cell in enumerate(cells) if cell.strip().lower().endswith(tuple(IMAGE_SUFFIXES))]
    has_header = not named and not all(_is_number(cell) for cell in cells)
    if has_header and not second:
        raise UsageError(f"{path} has a line of column names and no rows; give a table with images")
    names = tuple(cells) if has_header else tuple(str(number) for number in range(len(cells)))
    if len(set(names)) < len(names):
        raise UsageError(f"{path} has two columns of one name; rename one")
    values = values if has_header else cells
    label = name_like(config.label_column, names)
    if label is None and not has_header and not (is_test and is_flat_image(len(names))):
        others = [name for number, name in enumerate(names) if number not in named]
        label = others[0] if others else None
    if label is None and not is_test:
        raise UsageError(f"{path} has no column {config.label_column!r}; it has {shown(names)}: {choose('label')}")

    def chosen(what: str, wanted: str, *, may_lack: bool) -> str | None:
        found = name_like(wanted, names) if wanted else None
        if wanted and found is None and not may_lack:
            raise UsageError(f"{path} has no column {wanted!r}; it has {shown(names)}: {choose(what)}")
        return found

    group = chosen("group", config.group_column, may_lack=is_test)
    split = chosen("split", config.split_column, may_lack=not has_header)
    given = [name for name in (label, group, split) if name is not None]
    texts = [name for name, value in zip(names, values, strict=False) if not _is_number(value)]
    likely = [name_like(name, names) for name in (config.image_column, *FILE_COLUMNS)]
    value_of = dict(zip(names, values, strict=False))
    others = [name for name in names if name not in (*given, *texts) and name.strip().lower() not in _NUMBERING]
    numbered = [name for name in others if name.lower().startswith("pix") or _is_place(name)]
    one_text, likely_list = name_like(PIXEL_COLUMN, names), name_like(config.image_column, names)
    holds_text = one_text in texts or numbered == [one_text]
    of_texts = [name for name in names if name not in given and holds_text and name == one_text]
    of_texts += [
        name for name in texts if name not in given and name == likely_list and looks_like_a_list(value_of[name])
    ]
    candidates = [name for name in likely if name in texts and name not in (*given, *of_texts)]
    if not has_header:
        candidates = [names[number] for number in named]
    pixels = of_texts[:1] or pixels_in_order(numbered) or others
    if not candidates and not numbered and not of_texts:  # files may be named by numbers
        candidates = [name for name in likely if name is not None and name not in given]
    if not candidates and not pixels:
        raise UsageError(f"{path} has neither pixels nor names of files; it has {shown(names)}: {choose('image')}")
    return _Table(
        path=path,
        delimiter=delimiter,
        has_header=has_header,
        names=names,
        label=label,
        group=group,
        split=split,
        file=candidates[0] if candidates else "",
        pixels=() if candidates else tuple(pixels),
        are_texts=bool(of_texts) and not candidates,
    )


def _cells(line: str, delimiter: str) -> list[str]:
    limit = csv.field_size_limit(len(line) + 1)  # which is everybody's
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    finally:
        csv.field_size_limit(limit)


def _first_lines(path: Path) -> tuple[str, str]:
    limit = 64 * MAX_IMAGE_PIXELS
    try:
        check_limit(path.stat().st_size, MAX_DECODED_BYTES, what=f"{path}: size in bytes")
        with _opened(path) as stream:
            first = stream.readline(limit).rstrip("\r\n")
            second = next((line for _ in range(_BLANK_LINES) if (line := stream.readline(limit).rstrip("\r\n"))), "")
    except UnicodeDecodeError as error:
        reason = damage(path) or f"save it as UTF-8 ({CSV.takes})"
        raise CorruptFileError(f"{path} is no table of UTF-8 text; {reason}") from error
    except (OSError, EOFError) as error:
        reason = damage(path) or "it is truncated or not what its name says"
        raise CorruptFileError(f"{path} cannot be read: {reason} ({first_line(error)})") from error
    if not first or damage(path):
        raise CorruptFileError(f"{path} is no table; {damage(path) or CSV.takes}")
    return first, second


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig"))
    return open(path, encoding="utf-8-sig")


def _records(table: _Table, arrays: ArrayReader, config: DataConfig) -> Iterator[Record]:
    row = 0
    has_looked = False
    for batch in _batches(table):
        labels = _labels(batch, table.label, where=f"{table.path}, row {row}")
        groups = _values(batch, table.group)
        wheres = [f"{table.path}, row {number}" for number in range(row, row + len(batch))]
        row += len(batch)
        reads: list[Read]
        seen: list[npt.NDArray[np.float32]] = []
        if table.file:
            reads = [
                partial(read_named_image, name and name.strip(), table=table.path, config=config, where=where)
                for name, where in zip(batch.column(table.file).to_pylist(), wheres, strict=True)
            ]
        elif table.are_texts:
            texts = [text or "" for text in batch.column(table.pixels[0]).to_pylist()]
            seen = _images_of(texts[:_LOOKED_AT])
            reads = [partial(_picture_of, text, arrays, where) for text, where in zip(texts, wheres, strict=True)]
        else:
            seen = _numbers(batch, table)
            reads = [partial(arrays.picture, one, where=where) for one, where in zip(seen, wheres, strict=True)]
        if seen and not has_looked and {one.shape for one in seen} == {(seen[0].size,)}:
            arrays.look_at(np.stack(seen))
            has_looked = True
        for where, read, label, group in zip(wheres, reads, labels, groups, strict=True):
            yield Record(where, read, label, group)


def _batches(table: _Table) -> Iterator[pa.RecordBatch]:
    texts = {name: pa.string() for name in (table.label, table.group, table.file) if name}
    kinds = texts | dict.fromkeys(table.pixels, pa.string() if table.are_texts else pa.float32())
    row = 0
    try:
        reader = pyarrow.csv.open_csv(
            table.path,
            read_options=pyarrow.csv.ReadOptions(
                block_size=_BLOCK_BYTES, column_names=None if table.has_header else list(table.names), use_threads=False
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=table.delimiter, newlines_in_values=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=kinds,
                include_columns=list(kinds),
                null_values=list(_MISSING),
                strings_can_be_null=True,
            ),
        )
        total = 0
        for batch in reader:
            total += batch.nbytes
            check_limit(total, MAX_DECODED_BYTES, what=f"{table.path}: bytes of all numbers")
            yield batch
            row += len(batch)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise CorruptFileError(f"{table.path} cannot be read after row {row} ({first_line(error)})") from error


def _values(batch: pa.RecordBatch, column: str | None) -> list[Label | None]:
    """Return a column's values: whole numbers where they read as such, texts elsewhere."""
    if column is None:
        return [None] * len(batch)
    return [None if text is None else _label(text.strip()) for text in batch.column(column).to_pylist()]


def _labels(batch: pa.RecordBatch, column: str | None, *, where: str) -> list[Label | None]:
    """Return labels as `_values` reads them.

    Raises:
        AugmentError: a label is a number that is not whole.
    """
    values = _values(batch, column)
    fraction = next((value for value in values if isinstance(value, str) and _FRACTION.fullmatch(value)), None)
    if fraction is not None:
        raise AugmentError(
            f"{where} and on: labels such as {fraction} are no whole numbers; whole numbers or texts are expected"
        )
    return values


def _label(text: str) -> Label | None:
    whole = text.removesuffix(".0")
    is_number = (
        whole.removeprefix("-").isdecimal() and whole.isascii() and (whole == "0" or whole.lstrip("-")[0] != "0")
    )
    return int(whole) if is_number else text or None


def _numbers(batch: pa.RecordBatch, table: _Table) -> list[npt.NDArray[np.float32]]:
    columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in table.pixels]
    return list(np.stack(columns, axis=1).astype(np.float32))


def _picture_of(text: str, arrays: ArrayReader, where: str) -> Picture:
    """Return the picture of a text of numbers; where it is none, that makes a bad image and not a bad file."""
    return arrays.picture(numbers_in(text, where=where), where=where)


def _images_of(texts: Sequence[str]) -> list[npt.NDArray[np.float32]]:
    """Return the numbers of those texts that are images."""
    found = []
    for text in texts:
        with suppress(CorruptFileError):
            found.append(numbers_in(text, where=""))
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip() in _MISSING
    return True


def _is_place(name: str) -> bool:
    """Tell whether a column is named by its pixel's row and column, such as `1x28`."""
    row, separator, column = name.partition("x")
    return bool(separator) and row.isdecimal() and column.isdecimal()


def pixels_in_order(names: Sequence[str]) -> list[str]:
    """Return pixels' columns as they are numbered: some programs write them as words, `pixel10` before `pixel2`.

    Names with several numbers stay as they lie: no one knows which of row and column comes first.
    """
    numbers = [re.findall(r"\d+", name) for name in names]
    kinds = {re.sub(r"\d+", "", name) for name in names}
    if len(kinds) != 1 or any(len(found) != 1 for found in numbers):
        return list(names)
    return sorted(names, key=natural_key)
