"""Whether a classifier's probabilities mean what they say, from its stored predictions."""

from dataclasses import dataclass

import numpy as np

from evaluation.predictions import Predictions

BINS = 15  # as Guo et al. 2017
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far an arm's probabilities can be trusted; lower is better in all three.

    Attributes:
        ece: expected calibration error (Guo et al. 2017, arXiv 1706.04599, equation 3), in [0, 1]: the mean distance of
            confidence from accuracy over 15 bins of equal width of the confidence in the most probable class, weighted
            by the images in them.
        negative_log_likelihood: mean of -log of the true class's probability, in nats; probabilities below 1.2e-7, the
            precision of float32, count as that.
        brier: mean over images of the squared distance between the probabilities and the true class's indicator, summed
            over classes (Brier 1950), in [0, 2].
    """

    ece: float
    negative_log_likelihood: float
    brier: float


def calibration(predictions: Predictions) -> Calibration:
    """Measure one arm's calibration."""
    probabilities = predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(1, keepdims=True)
    num_classes = probabilities.shape[1]
    indicator = np.eye(num_classes)[predictions.labels]
    confidences = probabilities.max(1)
    bins = np.clip(np.ceil(BINS * confidences).astype(np.int64) - 1, 0, BINS - 1)
    excesses = np.bincount(bins, weights=confidences - (probabilities.argmax(1) == predictions.labels), minlength=BINS)
    of_true_class = np.maximum(probabilities[np.arange(len(indicator)), predictions.labels], SMALLEST_PROBABILITY)
    return Calibration(
        ece=float(np.abs(excesses).sum() / len(probabilities)),
        negative_log_likelihood=float(-np.log(of_true_class).mean()),
        brier=float(((probabilities - indicator) ** 2).sum(1).mean()),
    )
