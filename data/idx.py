"""The IDX format of the MNIST family (LeCun, Cortes & Burges): a big-endian header, then numbers."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.base.errors import CorruptFileError
from data.base.limits import MAX_DECODED_BYTES, check_limit

_TYPES = {0x08: (">u1", 1), 0x0C: (">i4", 4)}  # code: NumPy type, bytes of one number


def idx_header(shape: tuple[int, ...]) -> bytes:
    """Return the header of an array of unsigned bytes."""
    return bytes((0, 0, 0x08, len(shape))) + np.array(shape, ">u4").tobytes()


def read_idx(path: Path) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
    """Read unsigned bytes or 32-bit integers in 1 to 4 dimensions.

    Raises:
        CorruptFileError: unreadable, wrong magic number, or longer or shorter than its header says.
        LimitError: more bytes than are accepted; nothing was read.
    """
    try:
        with open(path, "rb") as stream:
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
            found = path.stat().st_size
            if found != expected:
                raise CorruptFileError(
                    f"{path} is truncated or altered: its header announces {expected:,} bytes, it has {found:,}; "
                    "restore it from a copy"
                )
            content = stream.read(expected)
    except OSError as error:
        raise CorruptFileError(f"cannot read {path}: {error.strerror or error}") from error
    numbers = np.frombuffer(content, kind).reshape(shape)
    return numbers.astype(np.uint8) if item_bytes == 1 else numbers.astype(np.int32)
