import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.base.errors import AugmentError, CorruptFileError
from data.base.limits import LimitError
from data.decoding import decode_image, encode_pngs


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
def test_png_round_trip_is_lossless(channels):
    images = np.random.default_rng(0).integers(0, 256, (3, channels, 12, 20), dtype=np.uint8)
    decoded = [decode_image(content, where="here") for content in encode_pngs(images)]
    assert np.array_equal(np.stack(decoded), images)


def test_pillow_agrees_with_the_encoder():
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 9, 7), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_pngs(images)[0])) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image).transpose(2, 0, 1), images[0])


def test_sixteen_bits_keep_the_upper_eight():
    deep = np.array([[0, 257, 65535]], np.uint16)
    assert decode_image(encoded(Image.fromarray(deep)), where="here").tolist() == [[[0, 1, 255]]]


def test_transparency_is_dropped():
    image = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert decode_image(encoded(image), where="here")[:, 0, 0].tolist() == [10, 20, 30]


def test_jpeg_is_accepted():
    assert decode_image(encoded(Image.new("L", (8, 8), 100), "JPEG"), where="here").shape == (1, 8, 8)


def test_other_formats_are_refused():
    with pytest.raises(CorruptFileError, match="cats/1"):
        decode_image(encoded(Image.new("L", (8, 8)), "TIFF"), where="cats/1")


def test_a_bomb_is_refused_before_it_is_decoded():
    content = bytearray(encode_pngs(np.zeros((1, 1, 8, 8), np.uint8))[0])
    content[16:24] = struct.pack(">2I", 9000, 9000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    with pytest.raises(LimitError, match=r"row 3.*limit is 16,777,216"):
        decode_image(bytes(content), where="x.parquet, row 3")


def test_a_truncated_image_is_refused():
    content = encode_pngs(np.random.default_rng(0).integers(0, 256, (1, 1, 32, 32), dtype=np.uint8))[0]
    with pytest.raises(CorruptFileError):
        decode_image(content[:-40], where="here")


def outcome(content):
    """Return the decoded pixels, or the message of the one error that is allowed."""
    try:
        return decode_image(content, where="here")
    except AugmentError as error:
        return str(error)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"]), st.binary(max_size=200))
def test_any_bytes_give_an_image_or_one_clear_error(start, noise):
    result = outcome(start + noise)
    assert result.startswith("here") if isinstance(result, str) else result.dtype == np.uint8


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_one_altered_byte_gives_an_image_or_one_clear_error(position, value):
    content = bytearray(encode_pngs(np.full((1, 3, 8, 8), 90, np.uint8))[0])
    content[position % len(content)] = value
    result = outcome(bytes(content))
    assert result.startswith("here") if isinstance(result, str) else result.ndim == 3
