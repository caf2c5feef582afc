"""`parquet:PATH`: a Parquet file, or a folder in Hugging Face's layout, with a column of images and one of labels.

Images may be PNG, JPEG, BMP or WEBP bytes (plain or in Hugging Face's `struct<bytes, path>`; the path is never
opened), or raw arrays of whole numbers from 0 to 255: nested lists (H, W) or (H, W, C), or fixed-shape tensors.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.limits import MAX_CLASSES, MAX_DECODED_BYTES, MAX_IMAGE_PIXELS, MAX_IMAGES, check_limit
from data.base.names import check_class_name
from data.config import DataConfig
from data.decoding import decode_image
from data.images import LabelledImages
from data.sources.collecting import ImageCollector, Pixels
from data.sources.source import Source, UserImages, split_source

BATCH_ROWS = 512
BATCH_BYTES = 256 * 2**20
_PLAIN_ENCODINGS = frozenset({"PLAIN", "RLE", "BIT_PACKED"})

Label = int | str


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Names of the two columns, and the class names where the schema gives them."""

    image: str
    label: str
    class_names: tuple[str, ...] | None


def load_parquet(path: Path, config: DataConfig) -> Source:
    """Read a Parquet data set; `test*` files are its test split, else one is held out.

    Raises:
        UsageError: no such file or folder, or no such column.
        AugmentError: labels that are missing, out of range or unknown in the train split; mixed sizes; too much.
        CorruptFileError: a damaged file, or an image that cannot be decoded.
    """
    name = f"parquet:{path}"
    train_files, test_files = parquet_files(path)
    files = [_open(file) for file in (*train_files, *test_files)]
    total = sum(file.metadata.num_rows for file in files)
    check_limit(total, MAX_IMAGES, what=f"{name}: number of rows")
    columns = _columns(files[0].schema_arrow, config, where=str(train_files[0]))
    for file, opened in zip((*train_files, *test_files), files, strict=True):
        if _columns(opened.schema_arrow, config, where=str(file)) != columns:
            raise AugmentError(
                f"{file}: its class names differ from those of {train_files[0]}; convert the files alike"
            )

    collector = ImageCollector(name=name, resize=config.resize or None)
    labels: list[list[Label]] = []
    for split, first in ((train_files, 0), (test_files, len(train_files))):
        of_split: list[Label] = []
        for file, opened in zip(split, files[first:], strict=False):
            for label in _rows(file, opened, columns, collector):
                of_split.append(label)
        labels.append(of_split)
    facts, resized_from = collector.facts(), collector.resized_from
    if not labels[0]:
        raise AugmentError(f"{name} holds no training images")
    class_names, index = _classes(name, labels[0], columns)
    unknown = sorted({str(label) for label in labels[1] if label not in index})
    if unknown:
        raise AugmentError(f"{name}: class {unknown[0]!r} of the test split does not occur in the train split")
    images = collector.finish()
    train, test = (
        LabelledImages(
            images=part,
            labels=np.array([index[label] for label in of_split], np.int64),
            rows=np.arange(len(of_split), dtype=np.int64),
            class_names=class_names,
        )
        for part, of_split in zip(np.split(images, [len(labels[0])]), labels, strict=True)
    )
    user = UserImages(name=name, train=train, test=test if test_files else None, facts=facts, resized_from=resized_from)
    return split_source(user, share=config.test_share, seed=config.test_seed)


def parquet_files(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the files of the train and the test split of `path`, a file or a folder (files in it or in `data/`).

    Raises:
        UsageError: there are none.
    """
    if path.is_file():
        return [path], []
    if not path.is_dir():
        raise UsageError(f"{path} does not exist; parquet:PATH takes a Parquet file, or a folder that holds some")
    folder = path / "data" if (path / "data").is_dir() else path
    files = sorted(file for file in folder.glob("*.parquet") if file.is_file())
    test = [file for file in files if file.name.startswith("test")]
    train = [file for file in files if file.name.startswith("train")]
    if not train:
        train = [file for file in files if not file.name.startswith(("test", "valid"))]
    if not train:
        raise UsageError(
            f"{folder} holds no *.parquet file to train on; name the files train-*.parquet, test-*.parquet"
        )
    return train, test


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
        claimed = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["unknown"])[0]
        raise CorruptFileError(f"{path} is truncated or not Parquet ({reason}); restore it from a copy") from error
    check_limit(claimed, MAX_DECODED_BYTES, what=f"{path}: uncompressed size in bytes")
    return file


def _columns(schema: pa.Schema, config: DataConfig, *, where: str) -> _Columns:
    for option, column in (("image_column", config.image_column), ("label_column", config.label_column)):
        if schema.names.count(column) != 1:
            known = ", ".join(repr(name) for name in schema.names[:12])
            raise UsageError(f"{where} has no single column {column!r}; it has {known}: choose with data.{option}")
    class_names = None
    if schema.metadata and b"huggingface" in schema.metadata:
        try:
            feature = json.loads(schema.metadata[b"huggingface"])["info"]["features"][config.label_column]
            if feature.get("_type") == "ClassLabel":
                class_names = tuple(str(name) for name in feature["names"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CorruptFileError(f"{where}: its 'huggingface' schema metadata cannot be read") from error
    if class_names is not None:
        check_limit(len(class_names), MAX_CLASSES, what=f"{where}: number of classes")
        if len(set(class_names)) != len(class_names):
            raise AugmentError(f"{where}: two classes have the same name; rename one")
        for class_name in class_names:
            check_class_name(class_name, where=where)
    return _Columns(image=config.image_column, label=config.label_column, class_names=class_names)


def _rows(path: Path, file: pq.ParquetFile, columns: _Columns, collector: ImageCollector) -> Iterator[Label]:
    """Read a file in batches: its images go to `collector`, its labels are yielded."""
    row = 0
    wanted = [columns.image, columns.label]
    for group in range(file.metadata.num_row_groups):
        batches: Iterator[pa.RecordBatch] | None = None
        while True:
            try:
                if batches is None:
                    # One row first: of damaged column metadata this raises; PyArrow's view of them ends the process.
                    next(file.iter_batches(1, row_groups=[group], columns=wanted), None)
                    size = _batch_rows(file, group, columns.image)
                    batches = file.iter_batches(size, row_groups=[group], columns=wanted)
                batch = next(batches, None)
            except (pa.ArrowException, OSError, ValueError) as error:
                reason = (str(error).splitlines() or ["unknown"])[0]
                raise CorruptFileError(f"{path} is damaged after row {row} ({reason}); restore it") from error
            if batch is None:
                break
            yield from _batch_labels(batch, columns, where=f"{path}, row", first=row)
            for offset, image in enumerate(_batch_images(batch.column(columns.image), f"{path}, row", row)):
                collector.add(image, where=f"{path}, row {row + offset}")
            row += len(batch)


def _batch_rows(file: pq.ParquetFile, group: int, image_column: str) -> int:
    """Return how many rows to decode at once, so that values that a dictionary repeats cannot fill the memory.

    One value is at most as long as its column chunk; a chunk without a dictionary holds each row in full.
    """
    metadata = file.metadata.row_group(group)
    chunks = [
        metadata.column(position)
        for position in range(metadata.num_columns)
        if file.schema.column(position).path.split(".")[0] == image_column
    ]
    sizes = [int(chunk.total_uncompressed_size) for chunk in chunks if not set(chunk.encodings) <= _PLAIN_ENCODINGS]
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, *sizes, 1)))


def _batch_labels(batch: pa.RecordBatch, columns: _Columns, *, where: str, first: int) -> list[Label]:
    column = batch.column(columns.label)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    textual = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (textual or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise AugmentError(f"{where} {first}: labels are of type {kind}; whole numbers or texts are expected")
    labels: list[Label] = []
    for offset, value in enumerate(column.to_pylist()):
        here = f"{where} {first + offset}"
        if value is None:
            raise AugmentError(f"{here}: the label is missing; fill it in or remove the row")
        if columns.class_names is not None and not textual and not 0 <= value < len(columns.class_names):
            raise AugmentError(f"{here}: label {value} is out of range, there are {len(columns.class_names)} classes")
        if textual and columns.class_names is not None and value not in columns.class_names:
            raise AugmentError(f"{here}: label {value[:50]!r} is not one of the class names")
        labels.append(check_class_name(value, where=here) if textual else int(value))
    return labels


def _batch_images(column: pa.Array, where: str, first: int) -> Iterator[Pixels]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_struct(kind):
        if kind.get_field_index("bytes") < 0:
            raise AugmentError(f"{where} {first}: images are of type {kind}; a struct with 'bytes' is expected")
        contents = pa.compute.struct_field(column, "bytes")
    elif isinstance(column, pa.ExtensionArray):
        contents = column.storage
    else:
        contents = column
    shape = tuple(kind.shape) if isinstance(kind, pa.FixedShapeTensorType) else None
    stored = contents.type
    is_encoded = pa.types.is_binary(stored) or pa.types.is_large_binary(stored) or pa.types.is_fixed_size_binary(stored)
    for offset, value in enumerate(contents):
        here = f"{where} {first + offset}"
        if not value.is_valid:
            raise CorruptFileError(f"{here}: the image is missing (its bytes are null; paths are not followed)")
        if is_encoded:
            yield decode_image(value.as_py(), where=here)
        else:
            yield _raw_pixels(value, shape, where=here)


def _raw_pixels(value: Any, shape: tuple[int, ...] | None, *, where: str) -> Pixels:
    """Turn a list of numbers to (C, H, W): (H, W), (H, W, C) or (C, H, W) nested, or flat with `shape` or square."""
    try:
        array = np.array(value.as_py())
    except ValueError as error:
        raise CorruptFileError(f"{where}: the rows of the raw image differ in length") from error
    if array.dtype.kind not in "iu" or array.size == 0:
        raise AugmentError(
            f"{where}: a raw image must hold whole numbers from 0 to 255; convert it, or store PNG bytes"
        )
    check_limit(array.size, 3 * MAX_IMAGE_PIXELS, what=f"{where}: numbers of the raw image")
    if array.min() < 0 or array.max() > 255:
        raise AugmentError(
            f"{where}: a raw image holds {array.min()} to {array.max()}; numbers from 0 to 255 are expected"
        )
    side = round(array.size**0.5)
    if shape is not None:
        array = array.reshape(shape)
    elif array.ndim == 1 and side * side == array.size:
        array = array.reshape(side, side)
    return _channels_first(array.astype(np.uint8), where=where)


def _channels_first(array: npt.NDArray[np.uint8], *, where: str) -> Pixels:
    if array.ndim == 2:
        return array[None]
    if array.ndim == 3 and array.shape[2] in (1, 3):
        return np.ascontiguousarray(array.transpose(2, 0, 1))
    if array.ndim == 3 and array.shape[0] in (1, 3):
        return array
    raise AugmentError(f"{where}: a raw image of shape {array.shape}; (H, W), (H, W, C) or (C, H, W) is expected")


def _classes(name: str, labels: list[Label], columns: _Columns) -> tuple[tuple[str, ...], dict[Label, int]]:
    """Return class names, and the class of each label: by the schema's names, else in order of the labels."""
    if columns.class_names is not None:
        by_number: dict[Label, int] = {number: number for number in range(len(columns.class_names))}
        return columns.class_names, by_number | {text: number for number, text in enumerate(columns.class_names)}
    distinct = set(labels)
    check_limit(len(distinct), MAX_CLASSES, what=f"{name}: number of distinct labels")
    ordered = sorted(distinct, key=lambda label: (str(type(label)), label))
    return tuple(str(label) for label in ordered), {label: position for position, label in enumerate(ordered)}
