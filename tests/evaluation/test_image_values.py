import numpy as np
import pytest

from evaluation.image_values import ImageValues, accuracy_values, macro_f1_values, recall_values
from evaluation.metrics import accuracy, macro_f1, tail_recall
from evaluation.predictions import Predictions

CLASSES = 4


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 90)
    predicted = np.where(rng.random((3, 2, 90)) < 0.7, labels, rng.integers(0, CLASSES, (3, 2, 90)))
    return labels, predicted


def predictions(labels, predicted):
    probabilities = np.eye(CLASSES, dtype=np.float32)[predicted]
    return Predictions(rows=np.arange(len(labels)), labels=labels, probabilities=probabilities)


def every_cell(values, labels, predicted, metric):
    means = values.values.mean(-1)
    return [(means[cell], metric(predictions(labels, predicted[cell]))) for cell in np.ndindex(means.shape)]


def test_mean_of_accuracy_values_is_accuracy(answers):
    for mean, metric in every_cell(accuracy_values(*answers), *answers, accuracy):
        assert mean == pytest.approx(metric)


def test_mean_of_macro_f1_values_is_macro_f1(answers):
    for mean, metric in every_cell(macro_f1_values(*answers, num_classes=CLASSES), *answers, macro_f1):
        assert mean == pytest.approx(metric)


def test_macro_f1_leaves_out_classes_that_nobody_named():
    labels, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])
    mean = macro_f1_values(labels, predicted, num_classes=1000).values.mean()
    assert mean == pytest.approx(macro_f1(predictions(labels, predicted)))


def test_mean_of_recall_values_is_tail_recall(answers):
    tail = np.array([1, 3])
    for mean, metric in every_cell(
        recall_values(*answers, classes=tail), *answers, lambda found: tail_recall(found, tail)
    ):
        assert mean == pytest.approx(metric)


@pytest.mark.parametrize(("classes", "recall"), [([0, 2], 0.5), ([0, 1, 2], 0.75), ([2], 0.0)])
def test_recall_is_over_the_classes_that_have_test_images(classes, recall):
    labels, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])
    assert recall_values(labels, predicted, classes=classes).values.mean() == pytest.approx(recall)


def test_macro_f1_is_over_the_classes_that_have_test_images():
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
    mean = macro_f1_values(labels, predicted, num_classes=CLASSES).values.mean()
    assert mean == pytest.approx(macro_f1(predictions(labels, predicted))) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("metric", ["macro_f1", "recall"])
def test_spread_of_values_is_the_error_from_test_images(metric):
    # against a bootstrap of the whole metric over test images
    rng = np.random.default_rng(1)
    labels = rng.choice(CLASSES, 400, p=[0.4, 0.3, 0.2, 0.1])
    predicted = np.where(rng.random(400) < 0.75, labels, rng.integers(0, CLASSES, 400))

    def values(labels, predicted):
        if metric == "macro_f1":
            return macro_f1_values(labels, predicted, num_classes=CLASSES).values
        return recall_values(labels, predicted, classes=[2, 3]).values

    drawn = rng.integers(0, 400, (1500, 400))
    bootstrap = np.std([values(labels[rows], predicted[rows]).mean() for rows in drawn])
    assert values(labels, predicted).std() / np.sqrt(400) == pytest.approx(bootstrap, rel=0.08)


def test_difference_of_arms_is_image_by_image():
    first = ImageValues(values=np.array([1.0, 0.0]), unit=2.0)
    difference = first - ImageValues(values=np.array([1.0, 1.0]))
    assert (difference.values.tolist(), difference.unit) == ([0.0, -1.0], 2.0)
