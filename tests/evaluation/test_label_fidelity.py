import numpy as np
import pytest

from evaluation.label_fidelity import measure_label_fidelity

PROBABILITIES = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.05, 0.95]], np.float32)


def measure(labels, names=("a", "b")):
    real = (np.eye(len(names), dtype=np.float32), np.arange(len(names)))
    probabilities = np.pad(PROBABILITIES, ((0, 0), (0, len(names) - 2)))
    return measure_label_fidelity(
        probabilities, np.array(labels), np.array([10, 11, 12, 13]), real=real, class_names=names, pictured=2
    )


def test_agreement_is_overall_and_per_class():
    found = measure([0, 0, 1, 0])
    assert (found.agreement.value, found.agreement_real.value) == (0.5, 1.0)
    assert [item.agreement.value for item in found.classes] == [1 / 3, 1.0]


def test_confusion_counts_label_then_judgement():
    assert measure([0, 0, 1, 0]).confusion == ((1, 2), (0, 1))


def test_worst_label_comes_first_with_its_index():
    first, second = measure([0, 0, 1, 0]).worst
    assert (first.sample, first.label, first.judged) == (13, 0, 1)
    assert second.sample == 11


def test_empty_class_has_a_reason():
    missing = measure([0, 0, 1, 1], names=("a", "b", "c")).classes[2]
    assert (missing.num_images, missing.agreement.value) == (0, None)
    assert missing.agreement.unavailable == "no images of this class"


def judged_as(labels, judged, real_labels, real_judged, num_classes):
    eye = np.eye(num_classes, dtype=np.float32)
    return measure_label_fidelity(
        eye[judged],
        np.array(labels),
        np.arange(len(labels)),
        real=(eye[real_judged], np.array(real_labels)),
        class_names=tuple("abcdefghij"[:num_classes]),
        pictured=1,
    )


@pytest.mark.parametrize("skill", [0.95, 0.6])
def test_a_fifth_of_wrong_labels_is_a_fifth_whatever_the_ensembles_skill(skill):
    rng = np.random.default_rng(0)
    truth = np.arange(5000) % 10
    judged = np.where(rng.random(5000) < skill, truth, (truth + rng.integers(1, 10, 5000)) % 10)
    labels = np.where(rng.random(5000) < 0.2, (truth + rng.integers(1, 10, 5000)) % 10, truth)
    found = judged_as(labels, judged, truth, judged, 10)
    assert found.wrong_share.value == pytest.approx(0.2, abs=0.03)
    assert found.p_value < 1e-6


def test_classes_that_are_harder_may_be_more_frequent_among_the_samples():
    real = np.repeat([0, 1], [900, 100])
    real_judged = np.concatenate([np.zeros(900, int), np.repeat([1, 0], 50)])  # half of the rare class is recognised
    labels = np.repeat([0, 1], 100)
    judged = np.concatenate([np.zeros(100, int), np.repeat([1, 0], 50)])
    found = judged_as(labels, judged, real, real_judged, 2)
    assert (found.agreement_real.value, found.wrong_share.value) == (0.75, 0)


def test_an_ensemble_without_skill_says_nothing_of_labels():
    labels = np.arange(40) % 2
    assert judged_as(labels, labels, labels, np.zeros(40, int), 2).wrong_share.unavailable
