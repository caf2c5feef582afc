"""Encoded images in and out, guarded: sizes are checked before a pixel is decoded."""

import io
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps
from PIL import TiffImagePlugin as TiffTags

from data.base.errors import CorruptFileError
from data.base.limits import MAX_ENCODED_BYTES, MAX_IMAGE_PIXELS, check_limit

ACCEPTED_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
WHITE = 255
_STDERR = 2
_ENCODING_BATCH = 256
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GIT_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
_EXIF = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")  # where Pillow looks for an orientation

Trait = Literal["transparent", "turned", "frames", "interleaved", "planar"]
"""What had to be decided for an image: where it is transparent, upright, first of several frames, flat RGB."""


class Picture(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: (C, H, W), C = 1 or 3; uint8, or int32 or float32 where the file is deeper: its values as they are.
        traits: what its reader must be told of.
        highest: of a deeper image that was laid on a ground, its greatest value without the ground; else None.
    """

    pixels: npt.NDArray[Any]
    traits: tuple[Trait, ...] = ()
    highest: int | None = None


def is_git_lfs_pointer(content: bytes) -> bool:
    """Tell whether a file's first bytes are those that Git LFS leaves where the file has not been fetched."""
    return content.startswith(_GIT_LFS_POINTER)


def decode_image(content: bytes, *, where: str, ground: int = WHITE) -> Picture:
    """Decode an encoded grayscale or colour image, upright, its transparent parts laid on `ground`.

    Of an animation or a file with several pages it is the first one.

    Args:
        where: file and row, for the messages.
        ground: grey level from 0 to 255.

    Raises:
        LimitError: too many bytes or pixels; nothing was decoded.
        CorruptFileError: not an image of an accepted format, or damaged.
    """
    check_limit(len(content), MAX_ENCODED_BYTES, what=f"{where}: bytes of the image", advice="shrink the image")
    try:
        with _quiet(is_tiff=content[:2] in (b"II", b"MM")), _open(content) as image:
            check_limit(
                image.width * image.height,
                MAX_IMAGE_PIXELS,
                what=f"{where}: pixels of the image",
                advice="shrink the images first; networks see at most 64 pixels a side",
            )
            return _picture(image, content, ground)
    except Image.DecompressionBombError as error:
        raise CorruptFileError(
            f"{where}: the image claims more pixels than the limit of {MAX_IMAGE_PIXELS:,}"
        ) from error
    except CorruptFileError as error:
        raise CorruptFileError(f"{where}: {error}") from error
    except _DECODERS_RAISE as error:
        raise CorruptFileError(f"{where}: {_why_not(content)}") from error


_DECODERS_RAISE = (
    OSError, ValueError, SyntaxError, TypeError, struct.error, zlib.error, OverflowError, EOFError, LookupError,
    AttributeError, RuntimeError, ArithmeticError, AssertionError,
)  # fmt: skip


def _why_not(content: bytes) -> str:
    if not content:
        return "the image is empty (0 bytes); restore or remove it"
    if is_git_lfs_pointer(content):
        return "a Git LFS pointer lies where the image should be; fetch the files with `git lfs pull`"
    return f"the image cannot be decoded ({' or '.join(ACCEPTED_FORMATS)} expected); repair or remove it"


@contextmanager
def _quiet(*, is_tiff: bool) -> Iterator[None]:
    """Keep off the terminal what Pillow, and libtiff past it, print of odd files: the user gets one line of ours."""
    with warnings.catch_warnings(action="ignore"):
        if not is_tiff:
            yield
            return
        kept, nowhere = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, _STDERR)
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            os.close(nowhere)


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=ACCEPTED_FORMATS)


@dataclass(frozen=True, kw_only=True)
class _TiffValues:
    """What a TIFF's tags say of its values, where Pillow's pixels do not follow them (TIFF 6.0, sections 8 and 19).

    Attributes:
        bits: of a value.
        is_white_zero: whether 0 is white; Pillow turns 8 bits a value and fewer, no deeper ones.
        is_signed, is_unsigned: how the bits are to be read; Pillow reads 8 as unsigned and 32 as signed.
        is_planar: whether colours lie one after the other; Pillow takes half of 16 bits a value there.
    """

    bits: int = 8
    is_white_zero: bool = False
    is_signed: bool = False
    is_unsigned: bool = True
    is_planar: bool = False

    @classmethod
    def of(cls, image: Image.Image) -> "_TiffValues":
        """Read the tags of an image that is not loaded yet; of other formats nothing is said."""
        tags = getattr(image, "tag_v2", None)
        if image.format != "TIFF" or tags is None:
            return cls()
        formats = tags.get(TiffTags.SAMPLEFORMAT, (1,))
        bits = tags.get(TiffTags.BITSPERSAMPLE, (1,))
        return cls(
            bits=max(bits),
            is_white_zero=tags.get(TiffTags.PHOTOMETRIC_INTERPRETATION) == 0,
            is_signed=set(formats) == {2},
            is_unsigned=set(formats) == {1},
            is_planar=tags.get(TiffTags.PLANAR_CONFIGURATION) == 2 and len(bits) > 1,
        )

    def deep(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return values of more than 8 bits as the tags say them, 0 black.

        Raises:
            CorruptFileError: they cannot be had, or there is no telling what is black.
        """
        if self.is_unsigned and self.bits == 32 and values.dtype.kind == "i" and values.min() < 0:
            raise CorruptFileError("at most 31 bits a value are read; save the image with 16")
        if not self.is_white_zero:
            return values
        if not self.is_unsigned or self.bits > 16:
            raise CorruptFileError("0 is white in the file, and it says no greatest value; save it with 0 as black")
        turned: npt.NDArray[Any] = 2**self.bits - 1 - values
        return turned


def _picture(image: Image.Image, content: bytes, ground: int) -> Picture:
    traits: list[Trait] = ["frames"] if getattr(image, "is_animated", False) else []
    tiff = _TiffValues.of(image)
    if tiff.is_planar and tiff.bits > 8:
        raise CorruptFileError("more than 8 bits a value in separate planes are not read; save the image interleaved")
    if image.mode not in _DEEP_MODES and _is_sixteen_bits(image):
        upright = _upright(image, traits)
        pixels = np.asarray(upright).astype(np.int32) * 256 + np.asarray(_upright(_low_bytes(content), []))
        highest = int(pixels[..., :3].max())
        if upright.mode == "RGBA":
            pixels = _on_ground(pixels, ground * 257, 65535, traits)
        elif upright.mode != "RGB":
            raise CorruptFileError(f"16 bits a value are not read from {upright.mode} images; convert them to RGB")
        laid = highest if "transparent" in traits else None
        return Picture(np.ascontiguousarray(pixels.transpose(2, 0, 1)), tuple(traits), laid)
    image = _upright(image, traits)
    if tiff.is_signed and image.mode == "L":
        return Picture(np.asarray(image).view(np.int8).astype(np.int32)[None], tuple(traits))
    if image.mode in _DEEP_MODES:
        deep = tiff.deep(np.asarray(image).astype(np.float32 if image.mode == "F" else np.int32))
        if not np.isfinite(deep).all():
            raise CorruptFileError("the image holds values that are not finite; repair or remove it")
        hidden = image.info.get("transparency")
        if isinstance(hidden, int) and (deep == hidden).any():
            traits.append("transparent")
            highest = int(np.where(deep == hidden, 0, deep).max())
            return Picture(np.where(deep == hidden, ground * 257, deep)[None], tuple(traits), highest)
        return Picture(deep[None], tuple(traits))
    if image.has_transparency_data:
        pixels = _on_ground(np.asarray(image.convert("RGBA")), ground, 255, traits)
    elif image.mode in ("1", "L"):
        return Picture(np.asarray(image if image.mode == "L" else image.convert("L"))[None], tuple(traits))
    else:
        pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return Picture(np.ascontiguousarray(pixels.transpose(2, 0, 1)), tuple(traits))


def _upright(image: Image.Image, traits: list[Trait]) -> Image.Image:
    """Load an image and turn it as its EXIF orientation says. Pillow's TIFF reader does so by itself."""
    is_turned_by_pillow = image.format == "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    image.load()
    if is_turned_by_pillow:
        traits.append("turned")
    if not any(key in image.info for key in _EXIF):
        return image
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        if orientation in range(2, 9):
            traits.append("turned")
            return ImageOps.exif_transpose(image)
    except _DECODERS_RAISE:
        pass  # the image is whole, what is written about it is not
    return image


def _raw_mode(tile: Any) -> str:
    """Return how a tile's values lie in the file, such as `RGB;16B`."""
    return str(tile.args[0] if isinstance(tile.args, tuple) else tile.args)


def _is_sixteen_bits(image: Image.Image) -> bool:
    return any(_raw_mode(tile).rpartition(";")[2] in _OTHER_BYTE for tile in getattr(image, "tile", ()))


def _low_bytes(content: bytes) -> Image.Image:
    """Open a colour image of 16 bits a value so that it decodes to the lower bytes; Pillow's own are the upper ones."""
    image = _open(content)
    tiles = []
    for tile in image.tile:  # type: ignore[attr-defined]
        rest = tile.args[1:] if isinstance(tile.args, tuple) else None
        head, _, order = _raw_mode(tile).rpartition(";")
        if head == "LA":
            raise CorruptFileError("16-bit grayscale with transparency is not read; save it as RGBA or without")
        other = f"{head};{_OTHER_BYTE[order]}"
        tiles.append(tile._replace(args=other if rest is None else (other, *rest)))
    image.tile = tiles  # type: ignore[attr-defined]
    return image


def on_ground(pixels: npt.NDArray[Any], ground: float, opaque: float) -> npt.NDArray[Any]:
    """Lay (H, W, 4) pixels, the last of them alpha up to `opaque`, on a `ground`; return (H, W, 3), the same dtype."""
    alpha = pixels[..., 3:].astype(np.float64) / opaque
    laid = pixels[..., :3] * alpha + ground * (1 - alpha)
    return laid.astype(pixels.dtype) if pixels.dtype.kind == "f" else np.rint(laid).astype(pixels.dtype)


def _on_ground(pixels: npt.NDArray[Any], ground: float, opaque: float, traits: list[Trait]) -> npt.NDArray[Any]:
    if pixels[..., 3].min() == opaque:
        return pixels[..., :3]
    traits.append("transparent")
    return on_ground(pixels, ground, opaque)


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
