"""The IDX format of the MNIST family (LeCun, Cortes & Burges): a big-endian header, then numbers."""

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from data.base.errors import CorruptFileError
from data.base.limits import MAX_DECODED_BYTES, check_limit

MAX_BYTE_CLASSES = 256  # labels that a byte can hold
_BYTES, _INTEGERS = 0x08, 0x0C
_TYPES = {_BYTES: (">u1", 1), _INTEGERS: (">i4", 4)}  # code: NumPy type, bytes of one number
_PIECE_BYTES = 16 * 2**20


def idx_header(shape: tuple[int, ...], *, wide: bool = False) -> bytes:
    """Return the header of an array of unsigned bytes, or, if `wide`, of 32-bit integers."""
    return bytes((0, 0, _INTEGERS if wide else _BYTES, len(shape))) + np.array(shape, ">u4").tobytes()


def needs_wide_labels(num_classes: int) -> bool:
    """Tell whether labels of so many classes need 32-bit integers; torchvision's MNIST reads bytes alone."""
    return num_classes > MAX_BYTE_CLASSES


def idx_labels(labels: npt.NDArray[np.int64], *, num_classes: int) -> npt.NDArray[Any]:
    """Return labels as they stand in a file: bytes where they fit, else big-endian 32-bit integers."""
    return labels.astype(_TYPES[_INTEGERS if needs_wide_labels(num_classes) else _BYTES][0])


def read_idx(path: Path) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
    """Read unsigned bytes or 32-bit integers in 1 to 4 dimensions, from a plain or gzipped (`.gz`) file.

    Raises:
        CorruptFileError: unreadable, wrong magic number, or longer or shorter than its header says.
        LimitError: more bytes than are accepted; nothing was read.
    """
    try:
        with _opened(path) as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 1 <= magic[3] <= 4:
                raise CorruptFileError(f"{path} is not an IDX file (magic number {magic.hex() or 'missing'})")
            lengths = stream.read(4 * magic[3])
            if len(lengths) < 4 * magic[3]:
                raise CorruptFileError(f"{path} is truncated in its header; restore it from a copy")
            shape = tuple(int(length) for length in np.frombuffer(lengths, ">u4"))
            kind, item_bytes = _TYPES[magic[2]]
            expected = 4 + len(lengths) + math.prod(shape) * item_bytes
            check_limit(expected, MAX_DECODED_BYTES, what=f"{path}: size in bytes")
            content = b""
            if path.suffix == ".gz":
                content = _unpacked(stream, expected - 4 - len(lengths) + 1)
                found = 4 + len(lengths) + len(content)
            else:
                found = path.stat().st_size
            if found != expected:
                raise CorruptFileError(
                    f"{path} is truncated or altered: its header announces {expected:,} bytes, it has {found:,}; "
                    "restore it from a copy"
                )
            content = content or stream.read(expected)
    except (EOFError, zlib.error) as error:
        raise CorruptFileError(f"{path} is truncated or altered ({error}); restore it from a copy") from error
    except OSError as error:
        raise CorruptFileError(f"cannot read {path}: {error.strerror or error}") from error
    numbers = np.frombuffer(content, kind).reshape(shape)
    return numbers.astype(np.uint8) if item_bytes == 1 else numbers.astype(np.int32)


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else open(path, "rb")


def _unpacked(stream: IO[bytes], count: int) -> bytes:
    """Read at most `count` bytes in pieces: what a header announces is not allocated before it is there."""
    content = bytearray()
    while len(content) < count and (piece := stream.read(min(_PIECE_BYTES, count - len(content)))):
        content += piece
    return bytes(content)
