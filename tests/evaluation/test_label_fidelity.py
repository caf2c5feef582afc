import numpy as np

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
