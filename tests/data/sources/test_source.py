import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.base.errors import AugmentError
from data.images import LabelledImages
from data.sources.source import UserImages, hold_out, split_source


def labelled(labels, num_classes):
    return LabelledImages(
        images=np.arange(len(labels), dtype=np.uint8)[:, None, None, None].repeat(8, 2).repeat(8, 3),
        labels=np.array(labels, np.int64),
        rows=np.arange(len(labels), dtype=np.int64),
        class_names=tuple(f"class {label}" for label in range(num_classes)),
    )


def user(labels, num_classes, test=None):
    return UserImages(name="mine", train=labelled(labels, num_classes), test=test, facts=("odd",), resized_from=None)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.01, 0.99), st.integers(0, 5))
def test_held_out_rows_are_disjoint_complete_and_leave_every_class_in_train(labels, share, seed):
    array = np.array(labels, np.int64)
    train, test = hold_out(array, share=share, seed=seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert set(array[train]) == set(labels)
    assert {label for label in labels if labels.count(label) > 1} == set(array[test])


def test_the_share_is_held_out_of_every_class():
    _, test = hold_out(np.repeat([0, 1], [50, 10]), share=0.2, seed=0)
    assert np.bincount(np.repeat([0, 1], [50, 10])[test]).tolist() == [10, 2]


def test_the_seed_decides():
    labels = np.repeat([0, 1], 50)
    first, second, other = (hold_out(labels, share=0.2, seed=seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_single_image_goes_to_train_with_a_warning():
    source = split_source(user([0] * 10 + [1], 2), share=0.2, seed=0)
    assert source.train.class_counts().tolist() == [8, 1]
    assert "no test image of class 'class 1'" in source.warning
    assert source.warning.startswith("odd; 2 of 11 images are held out")


def test_a_given_test_split_is_kept():
    test = labelled([0, 1], 2)
    source = split_source(user([0, 1, 1], 2, test), share=0.2, seed=0)
    assert source.test is test
    assert not source.held_out


def test_test_images_that_are_in_train_too_are_counted():
    source = split_source(user([0, 1, 1], 2, labelled([0, 1], 2)), share=0.2, seed=0)
    assert "2 test images are in the train split too" in source.warning


@pytest.mark.parametrize(
    ("labels", "num_classes", "message"),
    [
        ([0, 0], 1, "has 1 classes"),
        (list(range(101)), 101, "has 101 classes"),
        ([0, 0, 2], 3, "class 'class 1' has no image"),
        ([0, 1], 2, "no images are left to test on"),
    ],
)
def test_data_that_cannot_make_a_study_is_refused(labels, num_classes, message):
    with pytest.raises(AugmentError, match=message):
        split_source(user(labels, num_classes), share=0.2, seed=0)
