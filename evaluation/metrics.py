"""Classification metrics of one set of predictions."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, f1_score, recall_score

from evaluation.calibration import calibration
from evaluation.predictions import Predictions


def accuracy(predictions: Predictions) -> float:
    """Share of test images whose most probable class is the true one, in [0, 1]."""
    return float(accuracy_score(predictions.labels, predictions.predicted))


def macro_f1(predictions: Predictions) -> float:
    """Mean over the classes that have test images of the harmonic mean of precision and recall, in [0, 1].

    A class never predicted counts 0. Classes without a test image do not count, whatever an arm takes for them: the
    mean is over the same classes for all arms.
    """
    present = np.unique(predictions.labels)
    return float(f1_score(predictions.labels, predictions.predicted, labels=present, average="macro", zero_division=0))


def tail_classes(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the rarest third of the classes (rounded down, at least one) by their training images, ascending.

    There is no tail, and none is returned, where every class has as many images.

    Args:
        counts: training images of each class, (num_classes,) int64; of classes with as many, later ones are rarer.
    """
    if counts.min() == counts.max():
        return np.empty(0, np.int64)
    commonest_first = np.argsort(-counts, kind="stable")
    tail: npt.NDArray[np.int64] = np.sort(commonest_first[-max(1, len(counts) // 3) :])
    return tail


def tail_recall(predictions: Predictions, tail: npt.NDArray[np.int64]) -> float:
    """Mean over the classes `tail` (K,) of the share of their test images that are recognised, in [0, 1].

    Classes without a test image do not count; one of them must have some.
    """
    present = np.intersect1d(tail, predictions.labels)
    return float(recall_score(predictions.labels, predictions.predicted, labels=present, average="macro"))


def measured(predictions: Predictions, tail: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return every metric by its name; `tail_recall` only where there is a tail with test images."""
    metrics = {"accuracy": accuracy(predictions), "macro_f1": macro_f1(predictions)} | asdict(calibration(predictions))
    return metrics | (
        {"tail_recall": tail_recall(predictions, tail)} if np.isin(tail, predictions.labels).any() else {}
    )


def mean_metrics(seeds: Sequence[Predictions], tail: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return the mean of every metric over an arm's classifiers."""
    each = [measured(predictions, tail) for predictions in seeds]
    return {name: float(np.mean([metrics[name] for metrics in each])) for name in each[0]}
