from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.base.errors import AugmentError
from data.images import LabelledImages, identities
from data.sources.source import UserImages, hold_out, split_source


def labelled(labels, num_classes):
    return LabelledImages(
        images=np.random.default_rng(0).integers(0, 256, (len(labels), 1, 8, 8), dtype=np.uint8),
        labels=np.array(labels, np.int64),
        rows=np.arange(len(labels), dtype=np.int64),
        class_names=tuple(f"class {label}" for label in range(num_classes)),
    )


def user(labels, num_classes, test=None, **changes):
    train = replace(labelled(labels, num_classes), **changes)
    return UserImages(name="mine", where="here", train=train, test=test, facts=("odd",), resized_from=None)


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


def test_a_thousand_classes_make_a_study():
    labels = np.repeat(np.arange(1000), 2)
    source = split_source(user(labels.tolist(), 1000), share=0.5, seed=0)
    assert source.test.class_counts().tolist() == [1] * 1000


units = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60)  # label, unit


@given(units, st.floats(0.01, 0.99), st.integers(0, 5))
def test_no_unit_is_divided_and_every_class_keeps_a_train_image(rows, share, seed):
    labels, of_unit = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    train, test = hold_out(labels, share=share, seed=seed, units=of_unit)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert not set(of_unit[train]) & set(of_unit[test])
    assert set(labels[train]) == set(labels)


def test_whole_units_make_up_the_share_of_every_class():
    labels = np.repeat([0, 1], 100)
    _, test = hold_out(labels, share=0.2, seed=0, units=np.arange(200) // 4)
    assert np.bincount(labels[test]).tolist() == [20, 20]


def test_units_of_one_image_change_nothing():
    labels = np.repeat([0, 1], 50)
    plain, units = hold_out(labels, share=0.2, seed=0), hold_out(labels, share=0.2, seed=0, units=np.arange(100))
    assert np.array_equal(plain[1], units[1])


def test_a_class_of_few_large_units_is_tested_on_its_smallest():
    labels, of_unit = np.zeros(30, np.int64), np.repeat([0, 1, 2], [14, 10, 6])
    _, test = hold_out(labels, share=0.1, seed=0, units=of_unit)
    assert set(of_unit[test]) == {2}


def test_copies_never_cross_the_split_that_is_held_out():
    twice = user([0, 1] * 20, 2).train.take(np.arange(40).repeat(2))
    twice = replace(twice, rows=np.arange(80))
    source = split_source(replace(user([0, 1], 2), train=twice), share=0.2, seed=0)
    assert not set(identities(source.train)) & set(identities(source.test))
    assert len(source.test) == 16
    assert "identical images kept together" in source.warning
    assert "train split too" not in source.warning


def test_groups_never_cross_the_split_that_is_held_out():
    groups = np.arange(60) // 5
    source = split_source(user([0, 1, 2] * 20, 3, groups=groups), share=0.25, seed=0)
    assert not set(source.train.groups) & set(source.test.groups)
    assert "each group and identical images kept together" in source.warning


def test_classes_of_one_group_each_cannot_be_held_out_of():
    with pytest.raises(AugmentError, match="every class is one group"):
        split_source(user([0, 1] * 5, 2, groups=np.array([0, 1] * 5)), share=0.2, seed=0)


def test_groups_in_both_given_splits_are_counted():
    test = replace(user([0, 1], 2).train, groups=np.array([1, 7]))
    source = split_source(user([0, 1, 1, 0], 2, test, groups=np.array([1, 1, 2, -1])), share=0.2, seed=0)
    assert "1 groups have images in both splits" in source.warning


def test_images_that_are_one_and_the_same_are_refused():
    with pytest.raises(AugmentError, match=r"here: all 6 images are one and the same.*data\.alpha_ground=black"):
        split_source(user([0, 1] * 3, 2, images=np.zeros((6, 1, 8, 8), np.uint8)), share=0.5, seed=0)


def test_nearly_blank_images_are_shouted_about_first():
    images = user([0, 1] * 5, 2).train.images.copy()
    images[:7] = 3
    source = split_source(user([0, 1] * 5, 2, images=images), share=0.5, seed=0)
    assert source.warning.startswith("THE IMAGES ARE NEARLY BLANK: 7 of 10 images are one and the same")


def test_blank_test_images_are_shouted_about():
    test = replace(user([0, 1] * 5, 2).train, images=np.zeros((10, 1, 8, 8), np.uint8))
    source = split_source(user([0, 1] * 5, 2, test), share=0.5, seed=0)
    assert source.warning.startswith("THE TEST IMAGES ARE NEARLY BLANK: all 10 images are one and the same")


def test_a_class_of_one_image_again_and_again_is_named():
    images = user([0, 1, 1] * 5, 2).train.images.copy()
    images[::3] = images[:1]
    source = split_source(user([0, 1, 1] * 5, 2, user([0, 1], 2).train, images=images), share=0.5, seed=0)
    assert "all train images are one and the same in class 'class 0'" in source.warning


def test_names_that_differ_in_case_only_are_noted():
    train = replace(user([0, 1] * 3, 2).train, class_names=("Normal", "normal"))
    assert (
        "'Normal' and 'normal' differ in case only"
        in split_source(replace(user([0, 1] * 3, 2), train=train), share=0.5, seed=0).warning
    )


@pytest.mark.parametrize(
    ("labels", "num_classes", "message"),
    [
        ([0, 0], 1, "has 1 classes"),
        (list(range(1001)), 1001, "has 1,001 classes"),
        ([0, 0, 2], 3, "class 'class 1' has no image"),
        ([0, 1], 2, "no images are left to test on"),
    ],
)
def test_data_that_cannot_make_a_study_is_refused(labels, num_classes, message):
    with pytest.raises(AugmentError, match=message):
        split_source(user(labels, num_classes), share=0.2, seed=0)


def test_what_a_held_out_split_lacks_is_void_where_it_is_not_used():
    source = split_source(user([0] * 8 + [1], 2), share=0.25, seed=0)
    assert "held out for testing" in source.warning
    assert "no test image of class 'class 1'" in source.warning
    assert source.warning_without_split == "odd"


def test_what_a_given_split_lacks_stays_said():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 1, 8, 8), dtype=np.uint8)
    test = replace(labelled([0, 0], 2), images=pixels)
    source = split_source(user([0] * 8 + [1], 2, test=test), share=0.25, seed=0)
    assert "no test image of class 'class 1'" in source.warning_without_split


def test_images_that_occur_in_several_classes_are_counted():
    train, test = labelled([0] * 8 + [1] * 8, 2), labelled([1, 0], 2)
    train.images[9], test.images[1] = train.images[2], train.images[15]
    source = split_source(replace(user([0], 2, test), train=train), share=0.2, seed=0)
    assert "3 images occur in several classes, such as in 'class 0' and 'class 1'" in source.warning


@pytest.mark.parametrize("low", [0, 128])
def test_test_images_of_another_scale_are_shouted_about(low):
    train, test = labelled([0, 1] * 20, 2), labelled([0, 1] * 6, 2)
    test = replace(test, images=(test.images // 2 + low).astype(np.uint8))
    source = split_source(replace(user([0], 2, test), train=train), share=0.2, seed=0)
    assert f"PIXELS OF THE TEST IMAGES LIE FROM {low} TO {low + 125}, OF THE TRAIN IMAGES FROM" in source.warning
    alike = split_source(replace(user([0], 2, labelled([0, 1] * 6, 2)), train=train), share=0.2, seed=0)
    assert "PIXELS" not in alike.warning
