"""Regimes: how much labelled data a study pretends to have, and the seeded subsets that stand for it."""

from dataclasses import dataclass

import numpy as np

from data.config import ImagesPerClass
from data.errors import UsageError
from data.images import LabelledImages


@dataclass(frozen=True)
class BalancedRegime:
    """The same number of images of every class, or all there are."""

    images_per_class: ImagesPerClass

    @property
    def name(self) -> str:
        """Its directory in a run and its key in a report."""
        return f"balanced-{self.images_per_class}"

    @property
    def title(self) -> str:
        """What people read."""
        return "all images" if self.images_per_class == "all" else f"{self.images_per_class:,} per class"


def check_regime(train: LabelledImages, regime: BalancedRegime) -> None:
    """Make sure that `train` can fill the regime.

    Raises:
        UsageError: a class has fewer images than asked for.
    """
    if regime.images_per_class == "all":
        return
    counts = train.class_counts()
    poorest = int(counts.argmin())
    if counts[poorest] < regime.images_per_class:
        raise UsageError(
            f"{regime.images_per_class} images per class were asked for, but class {train.class_names[poorest]!r} "
            f"has only {counts[poorest]} in the train split; ask for {counts[poorest]} or fewer, or 'all'"
        )


def draw_subset(train: LabelledImages, regime: BalancedRegime, *, rng: np.random.Generator) -> LabelledImages:
    """Draw the regime's images from `train` without replacement, stratified by class, ordered by row number.

    Raises:
        UsageError: a class has fewer images than asked for.
    """
    check_regime(train, regime)
    if regime.images_per_class == "all":
        return train
    drawn = [
        rng.choice(np.flatnonzero(train.labels == label), regime.images_per_class, replace=False)
        for label in range(train.num_classes)
    ]
    return train.take(np.sort(np.concatenate(drawn)).astype(np.int64))
