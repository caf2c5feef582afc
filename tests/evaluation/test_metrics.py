import numpy as np
import pytest

from evaluation.metrics import accuracy, macro_f1
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
