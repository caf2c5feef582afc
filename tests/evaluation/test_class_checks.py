import numpy as np
import pytest

from evaluation.class_checks import holm, missing_class, varied_classes, wrong_labels
from evaluation.config import CheckThresholds
from evaluation.fidelity import LabelledFeatures

CONFIG = CheckThresholds()
NAMES = tuple(f"class {number}" for number in range(100))
LABELS = np.repeat(np.arange(100), 20)


def test_holm_is_that_of_the_textbook():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_one_missing_class_among_a_hundred_is_named():
    worst = missing_class(LABELS[LABELS != 37], np.full(100, 10), class_names=NAMES, config=CONFIG)
    assert "'class 37'" in worst.detail
    assert worst.is_beyond
    assert worst.p_value < 1e-3


def test_rare_class_may_come_as_rarely_as_in_training():
    counts = np.full(100, 10)
    counts[5] = 1
    labels = np.concatenate([LABELS[LABELS != 5], np.full(2, 5)])
    assert not missing_class(labels, counts, class_names=NAMES, config=CONFIG).is_beyond


def features(rng, kept=None, of_class=37):
    values = rng.normal(size=(2000, 16)).astype(np.float32)
    if kept:
        rows = np.flatnonzero(of_class == LABELS)
        values[rows] = values[rng.choice(rows[:kept], len(rows))] + rng.normal(0, 0.05, (20, 16)).astype(np.float32)
    return LabelledFeatures(features=values, labels=LABELS)


@pytest.mark.parametrize("kept", [1, 2, 5])
def test_one_collapsed_class_among_a_hundred_is_named(kept):
    rng = np.random.default_rng(0)
    worst = varied_classes(features(rng, kept), features(rng), class_names=NAMES, config=CONFIG)
    assert "'class 37'" in worst.detail
    assert worst.is_beyond
    assert worst.p_value < 1e-3


def test_a_hundred_good_classes_show_no_bad_one():
    rng = np.random.default_rng(0)
    worst = varied_classes(features(rng), features(rng), class_names=NAMES, config=CONFIG)
    assert not worst.is_beyond


def probabilities(rng, wrong=None):
    values = rng.dirichlet(np.full(100, 0.01), size=2000).astype(np.float32) * 0.3
    seen = LABELS.copy()
    if wrong is not None:
        seen[wrong == LABELS] = (wrong + 1) % 100
    values[np.arange(2000), seen] += 0.7
    return values


def test_one_wholly_wrong_class_among_a_hundred_is_named():
    rng = np.random.default_rng(0)
    real = (probabilities(rng), LABELS)
    worst = wrong_labels(probabilities(rng, wrong=37), LABELS, real=real, class_names=NAMES, config=CONFIG)
    assert "'class 37'" in worst.detail
    assert worst.is_beyond
    assert worst.p_value < 1e-3


def test_right_labels_show_no_wrong_class():
    rng = np.random.default_rng(0)
    real = (probabilities(rng), LABELS)
    assert not wrong_labels(probabilities(rng), LABELS, real=real, class_names=NAMES, config=CONFIG).is_beyond
