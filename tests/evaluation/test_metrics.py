import numpy as np
import pytest

from evaluation.metrics import accuracy, macro_f1, mean_metrics, measured, tail_classes, tail_recall
from evaluation.predictions import Predictions


def predictions(predicted, labels, num_classes=3):
    return Predictions(
        rows=np.arange(len(labels)),
        labels=np.array(labels),
        probabilities=np.eye(num_classes, dtype=np.float32)[predicted],
    )


def test_accuracy_counts_right_answers():
    assert accuracy(predictions([0, 1, 2, 2], [0, 1, 2, 0])) == 0.75


def test_macro_f1_is_analytic():
    # class 0: precision 1, recall 1/2, F1 2/3; class 1: precision 1/2, recall 1, F1 2/3
    assert macro_f1(predictions([0, 1, 1], [0, 0, 1], num_classes=2)) == pytest.approx(2 / 3)


def test_macro_f1_counts_a_class_never_predicted_as_zero():
    assert macro_f1(predictions([0, 0], [0, 1], num_classes=2)) == pytest.approx(1 / 3)


def test_macro_f1_is_over_the_same_classes_whatever_an_arm_answers():
    # class 2 has no test image: one answer of it costs the recall of class 1, not a third of the figure
    assert macro_f1(predictions([0, 0, 1, 2], [0, 0, 1, 1])) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([500, 300, 180, 108, 65, 39, 23, 14, 8, 5], [7, 8, 9]),
        ([1, 9, 9, 9, 9, 2], [0, 5]),
        ([7, 3], [1]),
        ([5, 5, 5], []),
        ([5, 5, 4], [2]),
    ],
)
def test_tail_is_the_rarest_third(counts, expected):
    assert list(tail_classes(np.array(counts))) == expected


def test_tail_recall_is_analytic():
    # class 1: 1 of 2 recognised; class 2: 3 of 3; class 0 does not count
    answers = predictions([1, 1, 0, 2, 2, 2], [0, 1, 1, 2, 2, 2])
    assert tail_recall(answers, np.array([1, 2])) == pytest.approx(0.75)


def test_tail_recall_of_a_class_never_predicted_is_zero():
    assert tail_recall(predictions([0, 0], [0, 2]), np.array([2])) == 0


def test_tail_recall_is_over_the_classes_that_have_test_images():
    answers = predictions([0, 1], [0, 1])
    assert tail_recall(answers, np.array([1, 2])) == 1
    assert "tail_recall" not in measured(answers, np.array([2]))


def test_tail_recall_is_measured_where_there_is_a_tail():
    answers = predictions([0, 1], [0, 1])
    assert "tail_recall" in measured(answers, np.array([1]))
    assert "tail_recall" not in measured(answers, np.array([], np.int64))


def test_metrics_of_an_arm_are_means_over_its_seeds():
    right, half = predictions([0, 1], [0, 1]), predictions([0, 0], [0, 1])
    assert mean_metrics([right, half], np.array([], np.int64))["accuracy"] == 0.75
