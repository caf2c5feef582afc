"""What GAN augmentation changed, image by image: classes, confusions and single test images that flipped.

All of it compares the headline arm with its reference on the same test images, cell by cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.predictions import Predictions

Pair = tuple[Predictions, Predictions]
"""Predictions of the reference arm and of the headline arm in one cell."""


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """How the share of a class's test images that are recognised (its recall) changed.

    Attributes:
        before, after: mean over replicates, in [0, 1].
        differences: after - before of each replicate.
    """

    label: int
    num_images: int
    before: float
    after: float
    differences: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ConfusionChange:
    """How often images of one class were taken for another: mean count per replicate."""

    label: int
    predicted: int
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A test image that one arm got right and the other wrong, as in the first such replicate.

    Attributes:
        count: in how many replicates it flipped this way.
    """

    row: int
    label: int
    before: int
    after: int
    count: int


def class_changes(pairs: Sequence[Pair]) -> list[ClassChange]:
    """Compare the recall of each class that is tested; a replicate that tests none of its images is left out for it."""
    changes = []
    for label in np.unique(np.concatenate([pair[0].labels for pair in pairs])):
        testing = [pair for pair in pairs if (pair[0].labels == label).any()]
        shares = np.array([[(arm.predicted[arm.labels == label] == label).mean() for arm in pair] for pair in testing])
        changes.append(
            ClassChange(
                label=int(label),
                num_images=len(np.unique(np.concatenate([pair[0].rows[pair[0].labels == label] for pair in testing]))),
                before=float(shares[:, 0].mean()),
                after=float(shares[:, 1].mean()),
                differences=tuple(float(value) for value in shares[:, 1] - shares[:, 0]),
            )
        )
    return changes


def confusion_changes(pairs: Sequence[Pair], *, limit: int) -> list[ConfusionChange]:
    """Return the confusions (true class, other class) whose number changed most, largest change first."""
    num_classes = pairs[0][0].probabilities.shape[1]
    before, after = (
        np.mean([_confusions(pair[side], num_classes) for pair in pairs], axis=0) for side in (0, 1)
    )  # each (num_classes, num_classes)
    change = after - before
    np.fill_diagonal(change, 0)
    order = np.argsort(-np.abs(change), axis=None, kind="stable")[:limit]
    found = [divmod(int(place), num_classes) for place in order]
    return [
        ConfusionChange(
            label=label,
            predicted=predicted,
            before=float(before[label, predicted]),
            after=float(after[label, predicted]),
        )
        for label, predicted in found
        if change[label, predicted] != 0
    ]


def flips(pairs: Sequence[Pair], *, to_right: bool, limit: int) -> tuple[int, list[Flip]]:
    """Find the test images that flipped from wrong to right (or back), those that did so in most replicates first.

    Returns:
        the mean number of such images per replicate, rounded, and the first `limit` of them.
    """
    flipped = [np.flatnonzero(_flipped(pair, to_right=to_right)) for pair in pairs]
    rows = np.concatenate([pair[0].rows[places] for pair, places in zip(pairs, flipped, strict=True)])
    found_rows, counts = np.unique(rows, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:limit]
    found = []
    for row, count in zip(found_rows[order].tolist(), counts[order].tolist(), strict=True):
        pair, place = next(
            (pair, int(place))
            for pair, places in zip(pairs, flipped, strict=True)
            for place in places
            if pair[0].rows[place] == row
        )
        before, after = pair
        found.append(
            Flip(
                row=row,
                label=int(before.labels[place]),
                before=int(before.predicted[place]),
                after=int(after.predicted[place]),
                count=count,
            )
        )
    return round(len(rows) / len(pairs)), found


def _confusions(predictions: Predictions, num_classes: int) -> npt.NDArray[np.int64]:
    pairs = predictions.labels * num_classes + predictions.predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


def _flipped(pair: Pair, *, to_right: bool) -> npt.NDArray[np.bool_]:
    before, after = (arm.predicted == arm.labels for arm in pair)
    flipped: npt.NDArray[np.bool_] = ~before & after if to_right else before & ~after
    return flipped
