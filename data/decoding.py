"""Encoded images in and out, guarded: sizes are checked before a pixel is decoded."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from data.base.errors import CorruptFileError
from data.base.limits import MAX_ENCODED_BYTES, MAX_IMAGE_PIXELS, check_limit

ACCEPTED_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
_ENCODING_BATCH = 256
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAYSCALE_MODES = frozenset({"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


def decode_image(content: bytes, *, where: str) -> npt.NDArray[np.uint8]:
    """Decode an encoded grayscale or colour image to (C, H, W) uint8, C = 1 or 3; transparency is dropped.

    Args:
        where: file and row, for the messages.

    Raises:
        LimitError: too many bytes or pixels; nothing was decoded.
        CorruptFileError: not an image of an accepted format, or damaged.
    """
    check_limit(len(content), MAX_ENCODED_BYTES, what=f"{where}: bytes of the image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images; the limit below is ours
            image = Image.open(io.BytesIO(content), formats=ACCEPTED_FORMATS)
        check_limit(image.width * image.height, MAX_IMAGE_PIXELS, what=f"{where}: pixels of the image")
        with image:
            return _pixels(image)
    except Image.DecompressionBombError as error:
        raise CorruptFileError(
            f"{where}: the image claims more pixels than the limit of {MAX_IMAGE_PIXELS:,}"
        ) from error
    except (OSError, ValueError, SyntaxError, TypeError, struct.error, zlib.error, OverflowError) as error:
        raise CorruptFileError(
            f"{where}: the image cannot be decoded ({' or '.join(ACCEPTED_FORMATS)} expected); repair or remove it"
        ) from error


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode not in _GRAYSCALE_MODES:
        return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"))[None]
    deep = np.asarray(image).astype(np.float64)  # 16 bits a pixel: the upper 8 are what 8-bit images would hold
    return (deep / 257).round().clip(0, 255).astype(np.uint8)[None]


def encode_pngs(images: npt.NDArray[np.uint8]) -> list[bytes]:
    """Encode (N, C, H, W) uint8 images, C = 1 or 3, as PNG (ISO/IEC 15948), unfiltered, zlib level 1.

    Pillow writes the same pixels in three times the time: for small images its call overhead dominates.
    """
    _, channels, height, width = images.shape
    header = struct.pack(">2I5B", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    head, tail = _PNG_SIGNATURE + _chunk(b"IHDR", header), _chunk(b"IEND", b"")
    return [head + _chunk(b"IDAT", zlib.compress(lines, 1)) + tail for lines in _scan_lines(images)]


def _scan_lines(images: npt.NDArray[np.uint8]) -> Iterator[memoryview]:
    """Yield each image's lines (H, 1 + W * C), every one behind its filter type 0; few copies at a time."""
    _, channels, height, width = images.shape
    for start in range(0, len(images), _ENCODING_BATCH):
        part = images[start : start + _ENCODING_BATCH]
        lines = np.zeros((len(part), height, 1 + width * channels), np.uint8)
        lines[:, :, 1:] = part.transpose(0, 2, 3, 1).reshape(len(part), height, width * channels)
        yield from (image_lines.data for image_lines in lines)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return b"%b%b%b%b" % (
        len(content).to_bytes(4, "big"),
        kind,
        content,
        zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big"),
    )
