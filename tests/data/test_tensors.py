import numpy as np
import torch

from data.tensors import to_pixels, to_unit_range


def test_pixels_survive_the_range_of_tanh():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert np.array_equal(to_pixels(to_unit_range(pixels)), pixels)


def test_the_range_is_minus_one_to_one():
    unit = to_unit_range(np.array([0, 255], np.uint8).reshape(1, 1, 1, 2))
    assert unit.tolist() == [[[[-1.0, 1.0]]]]


def test_values_outside_the_range_are_clamped():
    assert to_pixels(torch.tensor([-3.0, 3.0]).view(1, 1, 1, 2)).ravel().tolist() == [0, 255]
