"""Parquet in and out: `subset.parquet` between stages, and published data sets that load anywhere.

Between stages an image is its raw bytes (fast). Published, it is a PNG in Hugging Face's image layout, which
`datasets.load_dataset` opens as images and class labels.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from data.base.errors import CorruptFileError, first_line
from data.base.files import write_atomically
from data.decoding import decode_image
from data.images import LabelledImages

ROW_GROUP_SIZE = 5000  # rows that a reader must hold at once
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file atomically, zstd-compressed."""
    write_atomically(
        path, lambda temporary: pq.write_table(table, temporary.absolute(), compression="zstd", write_page_index=True)
    )


def read_table(path: Path) -> pa.Table:
    """Read one Parquet file.

    Raises:
        CorruptFileError: missing, truncated or not Parquet.
    """
    try:
        table = pq.read_table(path.absolute(), partitioning=None)  # a relative one may look like a URL
        _ = table.column_names  # where a damaged file has a name that is no text, this raises, and not later
    except FileNotFoundError as error:
        raise CorruptFileError(f"{path} is missing") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptFileError(
            f"{path} is truncated or not Parquet ({first_line(error)}); delete it to make it again"
        ) from error
    return table


def num_rows(path: Path) -> int:
    """Return the number of rows that a Parquet file announces.

    Raises:
        CorruptFileError: missing, truncated or not Parquet.
    """
    try:
        return int(pq.read_metadata(path.absolute()).num_rows)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptFileError(f"{path} is missing, truncated or not Parquet ({first_line(error)})") from error


def write_subset(path: Path, subset: LabelledImages) -> None:
    """Write the images that a cell may see: columns row, label, image (C * H * W bytes), and group where there are."""
    flat = subset.images.reshape(len(subset), -1)
    table = pa.table(
        {
            "row": subset.rows,
            "label": subset.labels,
            "image": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(flat.shape[1]), len(flat), [None, pa.py_buffer(np.ascontiguousarray(flat))]
            ),
        }
    )
    if subset.groups is not None:
        table = table.append_column("group", pa.array(subset.groups))
    facts = {"shape": subset.shape, "class_names": subset.class_names}
    write_table(path, table.replace_schema_metadata({"labelled_images": json.dumps(facts)}))


def read_subset(path: Path) -> LabelledImages:
    """Read what `write_subset` wrote.

    Raises:
        CorruptFileError: missing, truncated, or not a subset file.
    """
    table = read_table(path).combine_chunks()
    if not len(table):
        raise CorruptFileError(f"{path} holds no images; delete it to make it again")
    try:
        facts = json.loads(table.schema.metadata[b"labelled_images"])
        width = table.schema.field("image").type.byte_width
        chunks = [np.frombuffer(chunk.buffers()[1], np.uint8)[: len(chunk) * width] for chunk in table["image"].chunks]
        images = np.concatenate(chunks).reshape(len(table), *facts["shape"])
        return LabelledImages(
            images=images,
            labels=table["label"].to_numpy().copy(),  # Arrow's own memory is read-only
            rows=table["row"].to_numpy().copy(),
            class_names=tuple(facts["class_names"]),
            groups=table["group"].to_numpy().copy() if "group" in table.column_names else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptFileError(f"{path} is not a subset file ({error}); delete it to make it again") from error


def published_schema(class_names: tuple[str, ...], extra: dict[str, pa.DataType]) -> pa.Schema:
    """Return the schema of a published shard, with the metadata that makes `datasets` see images and class labels."""
    hugging_face_types = {pa.int64(): "int64", pa.string(): "string", pa.float32(): "float32", pa.bool_(): "bool"}
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": list(class_names), "_type": "ClassLabel"},
    }
    features |= {name: {"dtype": hugging_face_types[kind], "_type": "Value"} for name, kind in extra.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    fields = [("image", IMAGE_TYPE), ("label", pa.int64()), *extra.items()]
    return pa.schema(fields, metadata=metadata)


def write_published_shard(
    path: Path,
    *,
    encoded: Sequence[bytes],
    labels: npt.NDArray[np.int64],
    names: Sequence[str],
    class_names: tuple[str, ...],
    extra: dict[str, pa.Array],
) -> None:
    """Write one shard of a published data set.

    Args:
        encoded: N images as PNG.
        labels: (N,) int64.
        names: a file name for each image, such as `00000017.png`.
        extra: further columns of length N (provenance).
    """
    contents = [pa.array(encoded, pa.binary()), pa.array(names, pa.string())]
    image_column = pa.StructArray.from_arrays(contents, fields=list(IMAGE_TYPE))
    schema = published_schema(class_names, {name: column.type for name, column in extra.items()})
    table = pa.table([image_column, pa.array(labels), *extra.values()], schema=schema)
    repetitive = ["label", *(name for name, column in extra.items() if column.type != pa.bool_())]
    write_atomically(
        path,
        lambda temporary: pq.write_table(
            table,
            temporary.absolute(),
            compression={"image.bytes": "none"} | dict.fromkeys(["image.path", "label", *extra], "zstd"),
            use_dictionary=repetitive,
            write_page_index=True,
            row_group_size=ROW_GROUP_SIZE,
        ),
    )


def published_shards(directory: Path) -> list[Path]:
    """Return the shard files of a published data set, in order."""
    return sorted((directory / "data").glob("*.parquet"))


def read_published(directory: Path) -> LabelledImages:
    """Read a whole published data set into memory; `rows` are its running numbers.

    Raises:
        CorruptFileError: no shards, a damaged shard, or an image that cannot be decoded.
    """
    shards = published_shards(directory)
    if not shards:
        raise CorruptFileError(f"{directory} holds no data/*.parquet")
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[npt.NDArray[np.int64]] = []
    class_names: tuple[str, ...] = ()
    for shard in shards:
        table = read_table(shard)
        class_names = _class_names(table.schema, shard)
        images.extend(_decoded(table, shard))
        labels.append(table["label"].to_numpy())
    try:
        return LabelledImages(
            images=np.stack(images),
            labels=np.concatenate(labels),
            rows=np.arange(len(images), dtype=np.int64),
            class_names=class_names,
        )
    except ValueError as error:
        raise CorruptFileError(f"{directory}: {error}") from error


def _class_names(schema: pa.Schema, path: Path) -> tuple[str, ...]:
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return tuple(features["label"]["names"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{path} has no Hugging Face class names in its schema") from error


def _decoded(table: pa.Table, path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    for row, content in enumerate(pa.compute.struct_field(table["image"], "bytes")):
        if not content.is_valid:
            raise CorruptFileError(f"{path}, row {row}: the image is missing")
        pixels = decode_image(content.as_py(), where=f"{path}, row {row}").pixels
        if pixels.dtype != np.uint8:
            raise CorruptFileError(f"{path}, row {row}: the image has more than 8 bits a value")
        yield pixels
