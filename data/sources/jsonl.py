"""`jsonl:PATH`: JSON Lines, a label and the name of a file in each, as in Hugging Face's `metadata.jsonl`.

Files that a table names are looked for in the data set's folder, or in `data.image_folder`. Pixels may stand in the
place of a name, as nested lists.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.json

from data.base.errors import CorruptFileError, UsageError
from data.base.limits import MAX_DECODED_BYTES, check_limit
from data.base.names import name_like
from data.config import DataConfig
from data.sources.advice import why_unreadable
from data.sources.named_files import FILE_COLUMNS
from data.sources.source import Source
from data.sources.splits import FileKind, list_files
from data.sources.tables import BATCH_ROWS, load_tables, table_images
from data.unlabelled import UnlabelledSource

JSONL = FileKind(
    kind="jsonl",
    suffixes=(".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    takes="jsonl:PATH takes JSON Lines: in each a label and the name of an image file, or its pixels",
)
_BLOCK_BYTES = 64 * 2**20  # no object may be longer


def load_jsonl(path: Path, config: DataConfig) -> Source:
    """Read a data set of JSON Lines; see `load_tables`."""
    return load_tables(path, _with_places(path, config), of=JSONL, open_file=_open)


def jsonl_images(path: Path, config: DataConfig) -> UnlabelledSource:
    """Read the images of a data set of JSON Lines alone; see `table_images`."""
    return table_images(path, _with_places(path, config), of=JSONL, open_file=_open)


@dataclass(frozen=True, kw_only=True)
class _JsonLines:
    path: Path
    rows: pa.Table

    @property
    def schema(self) -> pa.Schema:
        return self.rows.schema

    @property
    def num_rows(self) -> int:
        return int(self.rows.num_rows)

    def batches(self, columns: Sequence[str], *, large: str) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 (nothing repeats)
        """Yield the rows of `columns`, a few hundred at a time."""
        yield from self.rows.select(list(columns)).combine_chunks().to_batches(BATCH_ROWS)


def _open(path: Path) -> _JsonLines:
    try:
        check_limit(path.stat().st_size, MAX_DECODED_BYTES, what=f"{path}: size in bytes")
        rows = pyarrow.json.read_json(
            path.absolute(), read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptFileError(f"{path} is truncated or not JSON Lines ({why_unreadable(path, error)})") from error
    check_limit(rows.nbytes, MAX_DECODED_BYTES, what=f"{path}: bytes of all values")
    return _JsonLines(path=path, rows=rows)


def _with_places(path: Path, config: DataConfig) -> DataConfig:
    """Return the configuration with the folder of the files that are named, and the column of their names."""
    listing = list_files(path, of=JSONL)
    changes = {} if config.image_folder else {"image_folder": str(listing.root)}
    first = next(file for files in listing.splits.values() for file in files)
    names = _open(first).schema.names
    column = next((found for name in (config.image_column, *FILE_COLUMNS) if (found := name_like(name, names))), None)
    if column is None:
        raise UsageError(
            f"{first} has neither pixels nor names of files; it has {', '.join(map(repr, names))}: choose with --set "
            "data.image_column=NAME"
        )
    return config.model_copy(update=changes | {"image_column": column})
