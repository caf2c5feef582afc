"""Classification metrics of one set of predictions."""

from sklearn.metrics import accuracy_score, f1_score

from evaluation.predictions import Predictions


def accuracy(predictions: Predictions) -> float:
    """Share of test images whose most probable class is the true one, in [0, 1]."""
    return float(accuracy_score(predictions.labels, predictions.predicted))


def macro_f1(predictions: Predictions) -> float:
    """Mean over classes of the harmonic mean of precision and recall, in [0, 1]; a class never predicted counts 0."""
    return float(f1_score(predictions.labels, predictions.predicted, average="macro", zero_division=0))
