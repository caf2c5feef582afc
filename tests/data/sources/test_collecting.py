import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.base.errors import AugmentError
from data.sources.collecting import ImageCollector, network_size, resized


def gray(height, width, value=7):
    return np.full((1, height, width), value, np.uint8)


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
    collector = ImageCollector(name="set", resize=None)
    collector.add(gray(12, 16), where="a")
    assert collector.resized_from is None
    assert collector.facts() == ()
    assert collector.finish().shape == (1, 1, 12, 16)


def test_resizing_by_rule_is_recorded():
    collector = ImageCollector(name="set", resize=None)
    collector.add(gray(30, 30), where="a")
    assert collector.resized_from == (30, 30)
    assert collector.facts() == ("images were resized from 30x30 to 32x32 pixels",)


def test_mixed_sizes_are_refused_by_name():
    collector = ImageCollector(name="set", resize=None)
    collector.add(gray(8, 8), where="a.png")
    with pytest.raises(AugmentError, match=r"b\.png.*12x12.*a\.png.*8x8.*data\.resize"):
        collector.add(gray(12, 12), where="b.png")


def test_a_configured_size_takes_mixed_sizes():
    collector = ImageCollector(name="set", resize=16)
    for side in (16, 20):
        collector.add(gray(side, side), where="a")
    assert "different sizes" in collector.facts()[0]
    assert collector.finish().shape == (2, 1, 16, 16)


def test_gray_stored_as_rgb_is_grayscale():
    collector = ImageCollector(name="set", resize=None)
    collector.add(np.full((3, 8, 8), 9, np.uint8), where="a")
    assert collector.finish().shape == (1, 1, 8, 8)


def test_one_colour_image_makes_all_rgb():
    collector = ImageCollector(name="set", resize=None)
    collector.add(gray(8, 8), where="a")
    colour = np.zeros((3, 8, 8), np.uint8)
    colour[0] = 200
    collector.add(colour, where="b")
    stack = collector.finish()
    assert (stack[0] == 7).all()
    assert np.array_equal(stack[1], colour)


def test_nothing_collected_is_an_error():
    with pytest.raises(AugmentError, match="set holds no images"):
        ImageCollector(name="set", resize=None).finish()
