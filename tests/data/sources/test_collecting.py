import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.base.errors import AugmentError
from data.config import DataConfig
from data.decoding import Picture
from data.sources.collecting import ImageCollector, network_size, resized


def gray(height, width, value=7):
    return np.full((1, height, width), value, np.uint8)


def collect(*images, **options):
    collector = ImageCollector(name="set", config=DataConfig(**options))
    for number, image in enumerate(images):
        collector.add(Picture(image), where=f"{number}.png")
    return collector


@pytest.mark.parametrize(
    ("size", "expected"),
    [((28, 28), (28, 28)), ((8, 64), (8, 64)), ((30, 30), (32, 32)), ((5, 5), (8, 8)), ((100, 80), (64, 64))],
)
def test_the_rule_of_sizes(size, expected):
    assert network_size(*size) == expected


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_networks_can_take_every_size_of_the_rule(height, width):
    assert all(8 <= side <= 64 and side % 4 == 0 for side in network_size(height, width))


def test_resizing_keeps_a_constant_image():
    assert (resized(gray(30, 30), (32, 32)) == 7).all()


def test_one_size_is_kept():
    collector = collect(gray(12, 16))
    assert collector.resized_from is None
    assert collector.finish().shape == (1, 1, 12, 16)
    assert collector.facts() == ()


def test_resizing_by_rule_is_recorded():
    collector = collect(gray(30, 30))
    collector.finish()
    assert collector.resized_from == (30, 30)
    assert collector.facts() == ("images were resized from 30x30 to 32x32 pixels",)


def test_mixed_sizes_are_refused_by_name():
    with pytest.raises(AugmentError, match=r"1\.png.*12x12.*0\.png.*8x8.*--set data\.resize=32"):
        collect(gray(8, 8), gray(12, 12))


def test_a_configured_size_takes_mixed_sizes():
    collector = collect(gray(16, 16), gray(20, 20), resize=16)
    assert collector.finish().shape == (2, 1, 16, 16)
    assert "different sizes" in collector.facts()[0]


def test_gray_stored_as_rgb_is_grayscale():
    assert collect(np.full((3, 8, 8), 9, np.uint8)).finish().shape == (1, 1, 8, 8)


def tinted(red=200):
    colour = np.zeros((3, 8, 8), np.uint8)
    colour[0] = red
    return colour


def test_one_colour_image_makes_all_rgb_and_is_named():
    collector = collect(gray(8, 8), tinted())
    stack = collector.finish()
    assert (stack[0] == 7).all()
    assert np.array_equal(stack[1], tinted())
    assert "1 of 2 images have colour (the first is 1.png), so all are RGB" in collector.facts()[0]


def test_colour_can_be_turned_gray():
    collector = collect(gray(8, 8), tinted(200), colour="gray")
    stack = collector.finish()
    assert stack.shape == (2, 1, 8, 8)
    assert stack[1, 0, 0, 0] == round(0.299 * 200)
    assert collector.facts() == ("1 images of colour were turned gray",)


def test_gray_can_be_made_rgb():
    assert collect(gray(8, 8), colour="rgb").finish().shape == (1, 3, 8, 8)


def ramp(high, dtype=np.int32):
    return np.linspace(0, high, 64).reshape(1, 8, 8).astype(dtype)


def test_deep_images_share_one_scale():
    collector = collect(ramp(4095), ramp(1000))
    stack = collector.finish()
    assert stack[0].max() == 255
    assert stack[1].max() == round(1000 * 255 / 4095)
    assert "read as 12 bits" in collector.facts()[0]


def test_the_scale_does_not_depend_on_resizing():
    assert collect(ramp(4095), resize=12).finish().max() >= 253


def test_eight_bits_beside_deep_images_are_kept():
    stack = collect(gray(8, 8, 200), ramp(65535)).finish()
    assert stack[0].max() == 200
    assert stack[1].max() == 255


def test_bits_can_be_set():
    assert collect(ramp(1000), bits=16).finish().max() == round(1000 / 257)
    assert collect(gray(8, 8, 15), bits=4).finish().max() == 255


def test_values_that_do_not_fit_the_bits_are_refused():
    with pytest.raises(AugmentError, match=r"0\.png: a value is 4095, which 10 bits do not hold"):
        collect(ramp(4095), bits=10).finish()


def test_nothing_collected_is_an_error():
    with pytest.raises(AugmentError, match="set holds no images"):
        collect().finish()
