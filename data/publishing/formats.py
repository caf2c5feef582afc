"""Formats of a published data set: Parquet shards, a folder of PNG files, or IDX files, each written shard by shard."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data.base.errors import AugmentError
from data.base.files import write_atomically, write_bytes
from data.base.names import folder_names
from data.decoding import encode_pngs
from data.idx import idx_header, idx_labels, needs_wide_labels
from data.parquet import write_published_shard, write_table

FileFormat = Literal["parquet", "imagefolder", "idx"]

PIECES = ".shards"  # what is needed until the data set is complete
IDX_KINDS = ("images", "labels")


def idx_files(num_classes: int) -> dict[str, str]:
    """Return the names of the IDX files of images and labels, as MNIST has them; QMNIST's where labels are wide."""
    kind = "int" if needs_wide_labels(num_classes) else "ubyte"
    return {"images": "train-images-idx3-ubyte", "labels": f"train-labels-idx1-{kind}"}


@dataclass(frozen=True, kw_only=True)
class ShardRows:
    """Consecutive rows of a data set.

    Attributes:
        number: which shard of `num_shards` this is.
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
        names: a file name for each image.
        provenance: further columns, N long.
    """

    number: int
    num_shards: int
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: Sequence[str]
    provenance: Mapping[str, pa.Array]

    @property
    def parquet_name(self) -> str:
        return f"train-{self.number:05d}-of-{self.num_shards:05d}.parquet"


def encode_shard(rows: ShardRows, file_format: FileFormat) -> list[bytes]:
    """Return each image as it stands in a file of the format: PNG, or bare pixels (H, W[, C]) for IDX."""
    if file_format == "idx":
        return [pixels.tobytes() for pixels in rows.images.transpose(0, 2, 3, 1)]
    return encode_pngs(rows.images)


def write_shard(
    directory: Path,
    rows: ShardRows,
    contents: Sequence[bytes],
    *,
    file_format: FileFormat,
    class_names: tuple[str, ...],
) -> list[Path]:
    """Write one shard with its encoded images; return its files.

    Raises:
        AugmentError: the place cannot be written.
    """
    if file_format == "parquet":
        path = directory / "data" / rows.parquet_name
        write_published_shard(
            path,
            encoded=contents,
            labels=rows.labels,
            names=rows.names,
            class_names=class_names,
            extra=dict(rows.provenance),
        )
        return [path]
    samples = directory / "samples" / rows.parquet_name
    columns = {"name": pa.array(list(rows.names)), "label": pa.array(rows.labels), **rows.provenance}
    write_table(samples, pa.table(columns))
    if file_format == "idx":
        pieces = {kind: directory / PIECES / f"{rows.number:05d}.{kind}" for kind in IDX_KINDS}
        write_bytes(pieces["images"], b"".join(contents))
        write_bytes(pieces["labels"], idx_labels(rows.labels, num_classes=len(class_names)).tobytes())
        return [samples, *pieces.values()]
    return [samples, *_write_images(directory / "train", rows, contents, folder_names(class_names))]


def _write_images(folder: Path, rows: ShardRows, contents: Sequence[bytes], folders: Sequence[str]) -> list[Path]:
    paths = [folder / folders[label] / name for label, name in zip(rows.labels, rows.names, strict=True)]
    try:
        for parent in {path.parent for path in paths}:
            parent.mkdir(parents=True, exist_ok=True)
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
    except OSError as error:
        raise AugmentError(f"cannot write {folder}: {error.strerror or error}; free or choose another place") from error
    return paths


def join_pieces(directory: Path, shape: tuple[int, int, int], *, num_images: int, num_classes: int) -> list[Path]:
    """Join the pieces of an IDX data set to its two files, and return these.

    Args:
        shape: (C, H, W) of one image; RGB images become (N, H, W, 3).
    """
    files = idx_files(num_classes)
    channels, height, width = shape
    headers = {
        "images": idx_header((num_images, height, width) if channels == 1 else (num_images, height, width, channels)),
        "labels": idx_header((num_images,), wide=needs_wide_labels(num_classes)),
    }
    for kind, name in files.items():
        pieces = sorted((directory / PIECES).glob(f"*.{kind}"))

        def write(temporary: Path, header: bytes = headers[kind], pieces: Sequence[Path] = tuple(pieces)) -> None:
            with open(temporary, "wb") as stream:
                stream.write(header)
                for piece in pieces:
                    with open(piece, "rb") as content:
                        shutil.copyfileobj(content, stream)

        write_atomically(directory / name, write)
    return [directory / name for name in files.values()]
