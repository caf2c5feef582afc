"""`parquet:PATH`: Parquet files with a column of images and one of labels; a file, a folder or a pattern."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.base.errors import CorruptFileError, first_line
from data.base.limits import MAX_DECODED_BYTES, check_limit
from data.config import DataConfig
from data.sources.advice import why_unreadable
from data.sources.source import Source
from data.sources.splits import FileKind
from data.sources.tables import BATCH_ROWS, load_tables, table_images
from data.unlabelled import UnlabelledSource

PARQUET = FileKind(
    kind="parquet",
    suffixes=(".parquet", ".pq"),
    takes="parquet:PATH takes a Parquet file, a folder that holds some, or a pattern such as data/*.parquet",
)
BATCH_BYTES = 256 * 2**20
_PLAIN_ENCODINGS = frozenset({"PLAIN", "RLE", "BIT_PACKED"})


def load_parquet(path: Path, config: DataConfig) -> Source:
    """Read a Parquet data set; see `load_tables`."""
    return load_tables(path, config, of=PARQUET, open_file=_open)


def parquet_images(path: Path, config: DataConfig) -> UnlabelledSource:
    """Read the images of a data set of Parquet files alone; see `table_images`."""
    return table_images(path, config, of=PARQUET, open_file=_open)


@dataclass(frozen=True, kw_only=True)
class _ParquetFile:
    path: Path
    file: pq.ParquetFile
    schema: pa.Schema
    num_rows: int

    def batches(self, columns: Sequence[str], *, large: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `columns`, few at a time where the column `large` repeats long values."""
        row = 0
        wanted = list(columns)
        for group in range(self.file.metadata.num_row_groups):
            batches: Iterator[pa.RecordBatch] | None = None
            while True:
                try:
                    if batches is None:
                        # One row first: it raises where column metadata are damaged, PyArrow's view of them crashes.
                        next(self.file.iter_batches(1, row_groups=[group], columns=wanted), None)
                        size = self._batch_rows(group, large)
                        batches = self.file.iter_batches(size, row_groups=[group], columns=wanted)
                    batch = next(batches, None)
                except (pa.ArrowException, OSError, ValueError) as error:
                    raise CorruptFileError(
                        f"{self.path} is damaged after row {row} ({first_line(error)}); restore it"
                    ) from error
                if batch is None:
                    break
                yield batch
                row += len(batch)

    def _batch_rows(self, group: int, large: str) -> int:
        """Return how many rows to decode at once, so that values that a dictionary repeats cannot fill the memory.

        One value is at most as long as its column chunk; a chunk without a dictionary holds each row in full.
        """
        metadata = self.file.metadata.row_group(group)
        chunks = [
            metadata.column(position)
            for position in range(metadata.num_columns)
            if self.file.schema.column(position).path.split(".")[0] == large
        ]
        sizes = [int(chunk.total_uncompressed_size) for chunk in chunks if not set(chunk.encodings) <= _PLAIN_ENCODINGS]
        return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, *sizes, 1)))


def _open(path: Path) -> _ParquetFile:
    try:
        file = pq.ParquetFile(path.absolute())  # a relative path such as gs:x looks like a URL
        claimed = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
        _ = file.schema_arrow.names  # of a damaged file this raises, here as everywhere
        opened = _ParquetFile(path=path, file=file, schema=file.schema_arrow, num_rows=file.metadata.num_rows)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptFileError(f"{path} is truncated or not Parquet ({why_unreadable(path, error)})") from error
    check_limit(claimed, MAX_DECODED_BYTES, what=f"{path}: uncompressed size in bytes")
    return opened
