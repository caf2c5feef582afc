import numpy as np
import pytest

from evaluation.class_gains import class_gains
from evaluation.image_values import ImageValues, accuracy_values
from evaluation.intervals import CrossValidation, FreshDraws


def answers(num_classes, per_class, *, replicates=20, seed=0):
    """Labels, and differences of two arms that are equally good."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class)
    first, second = (
        np.where(rng.random((replicates, 1, labels.size)) < 0.9, labels, (labels + 1) % num_classes) for _ in range(2)
    )
    return labels, accuracy_values(labels, first) - accuracy_values(labels, second)


def test_mean_is_the_gain_in_the_class_recall():
    labels, gains = answers(3, 40)
    found = class_gains(labels, gains, design=FreshDraws(), num_classes=3, alpha=0.05)
    assert [gain.mean for gain in found] == pytest.approx([gains.values[..., labels == c].mean() for c in range(3)])


def test_none_of_a_thousand_useless_classes_looks_helped():
    labels, gains = answers(1000, 10)
    found = class_gains(labels, gains, design=FreshDraws(), num_classes=1000, alpha=0.05)
    assert all(gain.low <= 0 <= gain.high for gain in found)


def test_the_class_that_gains_is_found():
    labels, gains = answers(10, 100)
    helped = ImageValues(values=np.where(labels == 7, np.maximum(gains.values, 0), gains.values))
    found = class_gains(labels, helped, design=FreshDraws(), num_classes=10, alpha=0.05)
    assert [gain.label for gain in found if gain.low > 0] == [7]


def test_a_class_without_test_images_has_a_reason():
    labels, gains = answers(2, 20)
    found = class_gains(labels, gains, design=FreshDraws(), num_classes=3, alpha=0.05)
    assert (found[2].mean, found[2].unavailable) == (None, "the class has no test image")


def test_a_class_with_one_test_image_has_a_reason():
    labels, gains = answers(2, 20)
    one = np.flatnonzero((labels == 0) | (np.arange(labels.size) == 20))
    gains = ImageValues(values=gains.values[..., one])
    found = class_gains(labels[one], gains, design=FreshDraws(), num_classes=2, alpha=0.05)
    assert "2 test images" in found[1].unavailable


def test_classes_of_cross_validation_keep_their_folds():
    labels, gains = answers(4, 30, replicates=2)
    folds = np.stack([np.arange(120) % 5] * 2)
    design = CrossValidation(folds=folds, classes=labels)
    found = class_gains(labels, gains, design=design, num_classes=4, alpha=0.05)
    assert all(gain.low < gain.mean < gain.high for gain in found)
