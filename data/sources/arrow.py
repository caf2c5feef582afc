"""`arrow:PATH`: Arrow files, as `datasets.Dataset.save_to_disk` writes them: a folder, one a split below it, a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from data.base.errors import CorruptFileError, first_line
from data.base.limits import MAX_DECODED_BYTES, check_limit
from data.config import DataConfig
from data.sources.advice import why_unreadable
from data.sources.source import Source
from data.sources.splits import FileKind
from data.sources.tables import BATCH_ROWS, load_tables, table_images
from data.unlabelled import UnlabelledSource

ARROW = FileKind(
    kind="arrow",
    suffixes=(".arrow", ".feather"),
    takes="arrow:PATH takes what save_to_disk wrote, an Arrow file, a folder that holds some, or a pattern",
    ignored_prefixes=("cache-", "indices"),  # of datasets' own memory
)
_FILE_MAGIC = b"ARROW1"  # a stream has none


def load_arrow(path: Path, config: DataConfig) -> Source:
    """Read a data set of Arrow files; see `load_tables`."""
    return load_tables(path, config, of=ARROW, open_file=_open)


def arrow_images(path: Path, config: DataConfig) -> UnlabelledSource:
    """Read the images of a data set of Arrow files alone; see `table_images`."""
    return table_images(path, config, of=ARROW, open_file=_open)


@dataclass(frozen=True, kw_only=True)
class _ArrowFile:
    path: Path
    schema: pa.Schema
    num_rows: int

    def batches(self, columns: Sequence[str], *, large: str) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 (nothing repeats)
        """Yield the rows of `columns`, a few hundred at a time."""
        row = 0
        batches = _batches(self.path)
        while True:
            try:
                batch = next(batches, None)
                if batch is not None:
                    batch = batch.select(list(columns))
                    batch.validate(full=True)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise CorruptFileError(
                    f"{self.path} is damaged after row {row} ({first_line(error)}); restore it"
                ) from error
            if batch is None:
                break
            for start in range(0, len(batch), BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)
            row += len(batch)


def _open(path: Path) -> _ArrowFile:
    try:
        check_limit(path.stat().st_size, MAX_DECODED_BYTES, what=f"{path}: size in bytes")
        with pa.memory_map(str(path)) as source:
            reader = _reader(source)
            schema = reader.schema
            _ = schema.names  # of a damaged file this raises, here as everywhere
        num_rows = sum(len(batch) for batch in _batches(path))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptFileError(f"{path} is truncated or not Arrow ({why_unreadable(path, error)})") from error
    return _ArrowFile(path=path, schema=schema, num_rows=num_rows)


def _reader(source: pa.NativeFile) -> pa.ipc.RecordBatchStreamReader | pa.ipc.RecordBatchFileReader:
    is_file = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
    source.seek(0)
    return pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        reader = _reader(source)
        if isinstance(reader, pa.ipc.RecordBatchFileReader):
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            yield from reader
