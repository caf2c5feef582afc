"""Text tables with a row an image, CSV and JSON Lines: from files and their rows to a source."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from data.config import DataConfig
from data.sources.reading import Found, Record, read_found, read_unlabelled
from data.sources.row_splits import split_rows
from data.sources.source import Source
from data.sources.splits import FileKind, assign_files, list_files
from data.sources.unused_columns import unused_columns
from data.unlabelled import UnlabelledSource

FILE_COLUMNS = ("file_name", "filename", "file", "image_path", "path", "filepath", "img")  # besides data.image_column
PIXEL_COLUMN = "pixels"
_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class RowFiles:
    """How files of a kind are read.

    Attributes:
        records: of a file; its argument `is_test` says that labels may lack.
        images: of a file, without labels and groups.
        split_values: what the split column says of each row of a file.
        columns: names of a file's columns.
        first_values: values of one of them, as many as are quickly read.
    """

    kind: FileKind
    records: Callable[[Path, bool], Iterator[Record]]
    images: Callable[[Path], Iterator[Record]]
    split_values: Callable[[Path], Iterable[object]]
    columns: Callable[[Path], Sequence[str]]
    first_values: Callable[[Path, str], Sequence[object]]


def load_rows(path: Path, config: DataConfig, files: RowFiles) -> Source:
    """Read tables of images; files named for a test split are its test split, else one is held out.

    Raises:
        UsageError: no such file, or no such column.
        AugmentError: as `read_found`.
        CorruptFileError: a damaged file.
    """
    roles = assign_files(path, config, of=files.kind)

    def records(of_role: Sequence[Path], *, is_test: bool) -> Iterator[Record]:
        for file in of_role:
            yield from files.records(file, is_test)

    found = Found(
        where=f"{files.kind.kind}:{path}",
        base=path if path.is_dir() else path.parent,
        train=records(roles.train, is_test=False),
        test=None if roles.test is None else records(roles.test, is_test=True),
        layout=roles.layout,
        facts=roles.facts,
    )
    if config.split_column:
        every = (*roles.train, *(roles.test or ()))
        rows = split_rows([value for file in every for value in files.split_values(file)], config, where=str(path))
        found = replace(
            found,
            train=rows.records(records(every, is_test=True), "train"),
            test=rows.records(records(every, is_test=True), "test") if rows.has_test else None,
            layout=rows.layout,
            facts=rows.facts,
        )
    first = roles.train[0]
    unused = unused_columns(files.columns(first), config, first_values=partial(files.first_values, first))
    return read_found(replace(found, facts=(*found.facts, *unused)), config)


def row_images(path: Path, config: DataConfig, files: RowFiles) -> UnlabelledSource:
    """Read all images of tables, of whatever split.

    Raises:
        UsageError: no such file, or no such column.
        CorruptFileError: a damaged file.
        Further ones as `read_unlabelled`.
    """
    listing = list_files(path, of=files.kind)
    images = (record for of_split in listing.splits.values() for file in of_split for record in files.images(file))
    base = path if path.is_dir() else path.parent
    return read_unlabelled(Found(where=f"{files.kind.kind}:{path}", base=base, train=images, test=None), config)


def shown(names: Sequence[str]) -> str:
    """Return the first names of columns for a message."""
    more = f", … ({len(names):,} columns)" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more or "nothing"


def choose(what: str) -> str:
    """Return how to name the column of something."""
    return f"choose with --set data.{what}_column=NAME"
