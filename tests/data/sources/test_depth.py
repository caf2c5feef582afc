import numpy as np
import pytest

from data.base.errors import AugmentError
from data.sources.depth import ValuesSeen, scale_of


def seen(low, high):
    return ValuesSeen(low=low, high=high)


@pytest.mark.parametrize(
    ("high", "full"), [(1, 1), (255, 255), (256, 1023), (4095, 4095), (4096, 16383), (40000, 65535), (2**20, 2**24 - 1)]
)
def test_whole_numbers_take_the_fewest_bits_that_hold_the_largest(high, full):
    assert scale_of(seen(0, high), is_float=False, bits=None).high == full


def test_floats_from_0_to_1_are_shares():
    scale = scale_of(seen(0, 0.8), is_float=True, bits=None)
    assert scale.to_bytes(np.array([0.0, 0.5, 1.0])).tolist() == [0, 128, 255]


def test_floats_that_are_over_1_by_rounding_are_shares():
    scale = scale_of(seen(0, 1.0000002), is_float=True, bits=None)
    assert scale.to_bytes(np.array([0.5, 1.0000002])).tolist() == [128, 255]
    assert "from 0 to 1 were scaled" in scale.fact


def test_floats_from_0_to_255_are_bytes():
    assert scale_of(seen(0, 254.6), is_float=True, bits=None).to_bytes(np.array([3.0, 254.6])).tolist() == [3, 255]


def test_negative_values_are_mapped_from_smallest_to_largest():
    scale = scale_of(seen(-1000, 3000), is_float=False, bits=None)
    assert scale.to_bytes(np.array([-1000, 1000, 3000])).tolist() == [0, 128, 255]
    assert "from -1000 to 3000" in scale.fact


def test_sixteen_bits_keep_the_upper_eight():
    assert scale_of(seen(0, 65535), is_float=False, bits=None).to_bytes(np.array([0, 257, 65535])).tolist() == [
        0,
        1,
        255,
    ]


def test_a_single_negative_value_is_black():
    assert scale_of(seen(-5, -5), is_float=False, bits=None).to_bytes(np.array([-5])).tolist() == [0]


@pytest.mark.parametrize("bits", [None, 16])
def test_more_than_32_bits_or_those_given_are_refused(bits):
    with pytest.raises(AugmentError, match="bits"):
        scale_of(seen(0, 2.0**33), is_float=False, bits=bits)
