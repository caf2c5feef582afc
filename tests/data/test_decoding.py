import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from data.base.errors import AugmentError, CorruptFileError
from data.base.limits import LimitError
from data.decoding import decode_image, encode_pngs


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(content: bytes, **options):
    return decode_image(content, where="here", **options).pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_png_round_trip_is_lossless(channels):
    images = np.random.default_rng(0).integers(0, 256, (3, channels, 12, 20), dtype=np.uint8)
    assert np.array_equal(np.stack([pixels(content) for content in encode_pngs(images)]), images)


def test_pillow_agrees_with_the_encoder():
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 9, 7), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_pngs(images)[0])) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image).transpose(2, 0, 1), images[0])


DEEP = np.random.default_rng(0).integers(0, 4096, (9, 7, 4)).astype(np.uint16)
DEEP[..., 3] = 65535


def png_of_16_bits(values: np.ndarray) -> bytes:
    """Encode (H, W, C) uint16, which Pillow cannot save in colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, channels = values.shape
    header = struct.pack(">2I5B", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_all_16_bits_of_a_png_are_read(channels):
    found = pixels(png_of_16_bits(DEEP[..., :channels]))
    assert found.dtype == np.int32
    assert np.array_equal(found.transpose(1, 2, 0), DEEP[..., : min(channels, 3)])


def test_16_bits_of_gray_with_alpha_are_refused_in_words():
    with pytest.raises(CorruptFileError, match="here: 16-bit grayscale with transparency is not read"):
        pixels(png_of_16_bits(DEEP[..., :2]))


def tiff_of_16_bits_in_colour(values: np.ndarray, order: str) -> bytes:
    """Encode (H, W, 3) uint16 without compression."""
    height, width, _ = values.shape
    data = values.astype(f"{order}u2").tobytes()
    tags = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8 + len(data)), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(data)),
    ]  # fmt: skip
    entries = b"".join(
        struct.pack(f"{order}HHI", *tag[:3])
        + (struct.pack(f"{order}HH", tag[3], 0) if tag[1:3] == (3, 1) else struct.pack(f"{order}I", tag[3]))
        for tag in tags
    )
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8 + len(data) + 6)
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return head + data + struct.pack(f"{order}3H", 16, 16, 16) + directory


@pytest.mark.parametrize("order", ["<", ">"])
def test_all_16_bits_of_a_colour_tiff_are_read(order):
    found = pixels(tiff_of_16_bits_in_colour(DEEP[..., :3], order))
    assert np.array_equal(found.transpose(1, 2, 0), DEEP[..., :3])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32])
def test_tiff_is_read_at_its_depth(kind, compression):
    values = (DEEP[..., 0] % (256 if kind == np.uint8 else 4096)).astype(kind)
    found = pixels(encoded(Image.fromarray(values), "TIFF", compression=compression))
    assert np.array_equal(found[0], values)
    assert found.dtype == {np.uint8: np.uint8, np.float32: np.float32}.get(kind, np.int32)


def retagged(content: bytes, tag: int, value: int) -> bytes:
    """Return a little-endian TIFF with another short value of a tag that it has."""
    start, number = struct.unpack_from("<I", content, 4)[0], tag.to_bytes(2, "little")
    found = next(at for at in range(start + 2, len(content), 12) if content[at : at + 2] == number)
    return content[: found + 8] + struct.pack("<HH", value, 0) + content[found + 12 :]


PHOTOMETRIC, SAMPLE_FORMAT, PLANAR = 262, 339, 284  # tags of TIFF


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize(("kind", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_zero_is_black_where_a_tiff_says_that_it_is_white(kind, white, compression):
    values = (DEEP[..., 0] % 256).astype(kind)
    content = retagged(encoded(Image.fromarray(values), "TIFF", compression=compression), PHOTOMETRIC, 0)
    assert np.array_equal(pixels(content)[0], white - values.astype(np.int32))


def test_what_has_no_greatest_value_cannot_be_turned():
    content = retagged(encoded(Image.fromarray(DEEP[..., 0].astype(np.float32)), "TIFF"), PHOTOMETRIC, 0)
    with pytest.raises(CorruptFileError, match="here: 0 is white in the file"):
        pixels(content)


def test_8_signed_bits_of_a_tiff_go_below_zero():
    values = np.arange(-28, 28, dtype=np.int8).reshape(7, 8)
    content = encoded(Image.fromarray(values.view(np.uint8)), "TIFF", tiffinfo={SAMPLE_FORMAT: 2})
    assert np.array_equal(pixels(content)[0], values)


def test_32_unsigned_bits_of_a_tiff_are_refused_above_31():
    values = np.full((8, 8), -5, np.int32)  # 2**32 - 5, read as signed
    assert np.array_equal(pixels(encoded(Image.fromarray(values), "TIFF"))[0], values)
    with pytest.raises(CorruptFileError, match="here: at most 31 bits a value are read"):
        pixels(retagged(encoded(Image.fromarray(values), "TIFF"), SAMPLE_FORMAT, 1))


def test_16_bits_in_planes_are_refused():
    content = tiff_of_16_bits_in_colour(DEEP[..., :3], "<")
    rows_per_strip = content.rindex(struct.pack("<HHI", 278, 3, 1))  # not needed: its place is taken
    planar = content[:rows_per_strip] + struct.pack("<HHIHH", PLANAR, 3, 1, 2, 0) + content[rows_per_strip + 12 :]
    with pytest.raises(CorruptFileError, match="here: more than 8 bits a value in separate planes"):
        pixels(planar)


def test_a_damaged_tiff_prints_nothing(capfd):
    content = bytearray(encoded(Image.fromarray(DEEP[..., 0]), "TIFF", compression="tiff_lzw"))
    content[8:40] = bytes(32)
    with pytest.raises(CorruptFileError):
        pixels(bytes(content))
    assert capfd.readouterr().err == ""


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(CorruptFileError, match="here: the image holds values that are not finite"):
        pixels(encoded(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"))


INK = np.dstack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 100, np.uint8)])  # its shape in alpha alone


@pytest.mark.parametrize(("ground", "expected"), [(255, 155), (0, 0), (100, 61)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_images_are_laid_on_the_ground(mode, ground, expected):
    image = Image.fromarray(INK) if mode in ("RGBA", "P") else Image.fromarray(INK[..., 2:], "LA")
    picture = decode_image(encoded(image.convert(mode)), where="here", ground=ground)
    assert set(picture.pixels.ravel().tolist()) == {expected}
    assert picture.traits == ("transparent",)


def test_opaque_alpha_is_nothing_to_tell():
    opaque = INK.copy()
    opaque[..., 3] = 255
    assert decode_image(encoded(Image.fromarray(opaque)), where="here").traits == ()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_transparent_grey_level_is_laid_on_the_ground(kind):
    image = Image.fromarray(np.tile(np.arange(8, dtype=kind), (8, 1)))
    found = pixels(encoded(image, transparency=3))
    assert found[0, 0].tolist() == [0, 1, 2, np.iinfo(kind).max, 4, 5, 6, 7]


GRADIENT = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 100}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
@pytest.mark.parametrize(
    ("orientation", "turned"), [(3, np.rot90(GRADIENT, 2)), (6, np.rot90(GRADIENT, -1)), (2, GRADIENT[:, ::-1])]
)
def test_images_are_turned_as_exif_says(kind, options, orientation, turned):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture = decode_image(encoded(Image.fromarray(GRADIENT), kind, exif=exif, **options), where="here")
    assert picture.pixels.shape[1:] == turned.shape
    assert np.abs(picture.pixels[0].astype(int) - turned).max() <= 2
    assert picture.traits == ("turned",)


def test_an_upright_image_is_nothing_to_tell():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    assert decode_image(encoded(Image.fromarray(GRADIENT), "JPEG", exif=exif), where="here").traits == ()


def test_broken_exif_does_not_break_the_image():
    content = encoded(Image.fromarray(GRADIENT), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert pixels(content).shape == (1, 6, 8)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_taken_and_said(kind):
    first, second = (Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 200))
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = decode_image(encoded(first, kind, save_all=True, append_images=[second], **options), where="here")
    assert set(picture.pixels.ravel().tolist()) == {10}
    assert picture.traits == ("frames",)


@pytest.mark.parametrize(
    ("image", "kind", "colour"),
    [
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", [255, 0, 0]),
        (Image.new("RGB", (8, 8), (255, 0, 0)).convert("P"), "PNG", [255, 0, 0]),
        (Image.new("RGB", (8, 8), (255, 0, 0)), "BMP", [255, 0, 0]),
        (Image.new("RGB", (8, 8), (255, 0, 0)), "PPM", [255, 0, 0]),
        (Image.new("1", (8, 8), 1), "PNG", [255]),
    ],
)
def test_other_ways_to_store_colours(image, kind, colour):
    assert np.abs(pixels(encoded(image, kind))[:, 4, 4].astype(int) - colour).max() <= 2


def test_other_formats_are_refused():
    with pytest.raises(CorruptFileError, match="cats/1"):
        decode_image(encoded(Image.new("L", (8, 8)), "TGA"), where="cats/1")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "git lfs pull")],
)
def test_why_a_file_is_no_image(content, message):
    with pytest.raises(CorruptFileError, match=f"here: .*{message}"):
        pixels(content)


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
        return pixels(content)
    except AugmentError as error:
        return str(error)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"GIF89a", b"P6"]),
    st.binary(max_size=200),
)
def test_any_bytes_give_an_image_or_one_clear_error(start, noise):
    result = outcome(start + noise)
    assert result.startswith("here") if isinstance(result, str) else result.ndim == 3


WHOLE = [
    encode_pngs(np.full((1, 3, 8, 8), 90, np.uint8))[0],
    png_of_16_bits(DEEP),
    *(encoded(Image.fromarray(GRADIENT), kind) for kind in ("JPEG", "TIFF", "WEBP", "GIF", "PPM", "BMP")),
    encoded(Image.fromarray(DEEP[..., 0]), "TIFF", compression="tiff_lzw"),
]


@settings(max_examples=300, deadline=None)
@given(whole=st.sampled_from(WHOLE), position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_one_altered_byte_gives_an_image_or_one_clear_error(whole, position, value):
    content = bytearray(whole)
    content[position % len(content)] = value
    result = outcome(bytes(content))
    assert result.startswith("here") if isinstance(result, str) else result.ndim == 3
