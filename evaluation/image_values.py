"""Metrics as means over test images, so that one interval serves all of them.

Accuracy is a mean over images. Recall, the recall of rare classes and macro-F1 are not, but near the predictions at
hand they are linear in what happens to each image: a metric's value plus the image's influence on it (the infinitesimal
jackknife; Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", chapter 6). The mean of these values
over the images is the metric itself, exactly, and their spread is its error from the choice of test images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ImageValues:
    """What each test image adds to a metric, or to the difference of a metric between two arms.

    Attributes:
        values: (..., N) float64; the mean over the last axis is the metric.
        unit: how much one image can change the sum of the values; 1 for accuracy.
    """

    values: FloatArray
    unit: float = 1.0

    def __sub__(self, other: "ImageValues") -> "ImageValues":
        return ImageValues(values=self.values - other.values, unit=max(self.unit, other.unit))

    def of(self, images: npt.NDArray[np.bool_]) -> "ImageValues":
        """Keep some of the images, (N,) bool; only for accuracy, where an image's value does not depend on others."""
        return ImageValues(values=self.values[..., images], unit=self.unit)


def accuracy_values(labels: IntArray, predicted: IntArray) -> ImageValues:
    """Return 1 where an image is recognised and 0 where it is not.

    Args:
        labels: (N,) int64, true classes.
        predicted: (..., N) int64, such as (replicates, seeds, N).
    """
    return ImageValues(values=(predicted == labels).astype(np.float64))


def recall_values(labels: IntArray, predicted: IntArray, *, classes: Sequence[int]) -> ImageValues:
    """Return each image's part in the mean recall of `classes`: one class, the tail, or all (balanced accuracy).

    With recall r_c of class c, N_c of the N images and C classes, the value of an image of c that is recognised (y = 1)
    or not (y = 0) is mean recall + N / (C N_c) (y - r_c); that of an image of no class asked for is the mean recall.

    Args:
        labels: (N,) int64.
        predicted: (..., N) int64.
        classes: labels; those without a test image do not count, as in `evaluation.metrics.tail_recall`.
    """
    right = (predicted == labels).astype(np.float64)
    influence = np.zeros(right.shape)
    mean_recall = np.zeros(right.shape[:-1])
    unit = 0.0
    tested = [label for label in classes if (labels == label).any()]
    for label in tested:
        members = labels == label
        recall = right[..., members].mean(-1)
        weight = labels.size / (len(tested) * int(members.sum()))
        influence[..., members] = weight * (right[..., members] - recall[..., None])
        mean_recall += recall / len(tested)
        unit = max(unit, weight)
    return ImageValues(values=mean_recall[..., None] + influence, unit=unit)


def macro_f1_values(labels: IntArray, predicted: IntArray, *, num_classes: int) -> ImageValues:
    """Return each image's part in macro-F1.

    F_c = 2 T_c / (L_c + P_c) with T_c right, L_c labelled and P_c predicted images of class c. Giving an image a little
    more weight changes F_c by (2 [right in c] - F_c [labelled c] - F_c [predicted c]) / (L_c + P_c), which sums to 0
    over the images. The mean is over the classes that are labelled, so that it is over the same ones for all arms.

    Args:
        labels: (N,) int64.
        predicted: (..., N) int64.
    """
    flat = predicted.reshape(-1, labels.size)
    values = np.empty(flat.shape)
    unit = 0.0
    labelled = np.bincount(labels, minlength=num_classes)
    for row, answers in enumerate(flat):
        right = answers == labels
        together = labelled + np.bincount(answers, minlength=num_classes)
        present = labelled > 0
        recognised = np.bincount(labels[right], minlength=num_classes)
        f1 = np.divide(2 * recognised, together, out=np.zeros(num_classes), where=present)
        per_image = np.divide(1.0, together, out=np.zeros(num_classes), where=present)
        change = 2 * right * per_image[labels] - (f1 * per_image)[labels] - (f1 * per_image)[answers]
        values[row] = f1[present].mean() + labels.size / present.sum() * change
        unit = max(unit, labels.size / int(present.sum()) * 2 * float(per_image[present].max()))
    return ImageValues(values=values.reshape(predicted.shape), unit=unit)
