import dataclasses
import pickle

import numpy as np
import pytest
import torch

from data.images import identities
from data.tensors import to_pixels, to_unit_range


def test_pixels_survive_the_range_of_tanh():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert np.array_equal(to_pixels(to_unit_range(pixels)), pixels)


def test_the_range_is_minus_one_to_one():
    unit = to_unit_range(np.array([0, 255], np.uint8).reshape(1, 1, 1, 2))
    assert unit.tolist() == [[[[-1.0, 1.0]]]]


def test_values_outside_the_range_are_clamped():
    assert to_pixels(torch.tensor([-3.0, 3.0]).view(1, 1, 1, 2)).ravel().tolist() == [0, 255]


def test_class_counts(striped):
    assert striped.class_counts().tolist() == [20, 20, 20]


def test_take_keeps_row_numbers(striped):
    assert striped.take(np.array([5, 3])).rows.tolist() == [5, 3]


@pytest.mark.parametrize("field", ["images", "labels", "rows"])
def test_the_digest_notices_every_array(striped, field):
    changed = getattr(striped, field).copy()
    changed[0] = (changed[0] + 1) % 3
    assert dataclasses.replace(striped, **{field: changed}).digest() != striped.digest()


def test_the_digest_notices_class_names(striped):
    assert dataclasses.replace(striped, class_names=("a", "b", "c")).digest() != striped.digest()


def test_equal_sets_have_equal_digests(striped):
    assert striped.take(np.arange(60)).digest() == striped.digest()


def test_the_digest_is_computed_once_and_survives_a_trip_to_a_worker(striped):
    assert striped.digest() is striped.digest()
    assert pickle.loads(pickle.dumps(striped)).digest() == striped.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.zeros((60, 8, 8), np.uint8)},
        {"images": np.zeros((60, 1, 8, 8), np.float32)},
        {"rows": np.arange(59)},
        {"labels": np.full(60, 3)},
        {"labels": np.full(60, -1)},
    ],
)
def test_what_does_not_fit_together_is_refused(striped, change):
    with pytest.raises(ValueError, match=r"images|labels"):
        dataclasses.replace(striped, **change)


def test_equal_pixels_have_equal_identities(striped):
    found = identities(striped.take(np.array([0, 1, 0])))
    assert found[0] == found[2] != found[1]
