import dataclasses
import hashlib
import pickle

import numpy as np
import pytest

from data.images import identities


def test_class_counts(striped):
    assert striped.class_counts().tolist() == [20, 20, 20]


def test_take_keeps_row_numbers(striped):
    assert striped.take(np.array([5, 3])).rows.tolist() == [5, 3]


def test_take_keeps_groups(striped):
    grouped = dataclasses.replace(striped, groups=np.arange(60) // 4)
    assert grouped.take(np.array([5, 3])).groups.tolist() == [1, 0]
    assert striped.take(np.array([5])).groups is None


def test_the_digest_notices_groups_and_is_as_before_without(striped):
    sha = hashlib.sha256(repr((striped.images.shape, striped.class_names)).encode())
    for array in (striped.images, striped.labels, striped.rows):
        sha.update(array.tobytes())
    assert striped.digest() == sha.hexdigest()
    assert dataclasses.replace(striped, groups=np.zeros(60, np.int64)).digest() != striped.digest()


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
        {"groups": np.arange(59)},
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
