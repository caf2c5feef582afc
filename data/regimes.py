"""Regimes: how much labelled data a study pretends to have, and the seeded subsets that stand for it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.base.errors import UsageError
from data.config import LONG_TAILED, ImagesPerClass, LongTailOrder
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
        return f"{self.images_per_class:,} images per class" if isinstance(self.images_per_class, int) else "all images"

    def wanted(self, train: LabelledImages) -> npt.NDArray[np.int64]:
        """Return how many images of each class the regime takes from `train`, (num_classes,) int64."""
        if isinstance(self.images_per_class, int):
            return np.full(train.num_classes, self.images_per_class, np.int64)
        return train.class_counts()


@dataclass(frozen=True)
class LongTailedRegime:
    """Exponentially fewer images from the first class to the last: n_c = n_max * ratio^(-c / (C - 1)), at least 1.

    The profile is that of Cui et al. 2019, arXiv 1901.05555, section 5.1.

    Attributes:
        n_max: images of the first class.
        imbalance_ratio: images of the first class per image of the last, at least 1.
        order: which class is the first: the most frequent one (of equally frequent ones the one with the lower
            label), or the one with the lowest label.
    """

    n_max: int
    imbalance_ratio: float
    order: LongTailOrder = "label"

    @property
    def images_per_class(self) -> ImagesPerClass:
        """Return the value of `images_per_class` that the regime stands for."""
        return f"long-tailed:{self.n_max}:{self.imbalance_ratio:g}"

    @property
    def name(self) -> str:
        """Its directory in a run and its key in a report."""
        return f"long-tailed-{self.n_max}-{self.imbalance_ratio:g}"

    @property
    def title(self) -> str:
        """What people read."""
        return f"long-tailed, {self.n_max:,} to {max(1, round(self.n_max / self.imbalance_ratio)):,} per class"

    def wanted(self, train: LabelledImages) -> npt.NDArray[np.int64]:
        """Return how many images of each class the regime takes from `train`, (num_classes,) int64."""
        exponent = -np.arange(train.num_classes) / max(train.num_classes - 1, 1)
        profile = np.maximum(1, np.rint(self.n_max * self.imbalance_ratio**exponent)).astype(np.int64)
        if self.order == "label":
            return profile
        wanted = np.empty_like(profile)
        wanted[np.argsort(-train.class_counts(), kind="stable")] = profile
        return wanted


Regime = BalancedRegime | LongTailedRegime


def regime_of(images_per_class: ImagesPerClass, *, order: LongTailOrder = "label") -> Regime:
    """Return the regime that a configured value of `images_per_class` stands for.

    Args:
        order: `long_tail_order` as configured.

    Raises:
        UsageError: not a value that `DataConfig` accepts.
    """
    if isinstance(images_per_class, int) or images_per_class == "all":
        return BalancedRegime(images_per_class)
    match = LONG_TAILED.fullmatch(images_per_class)
    if match is None:
        raise UsageError(f"unknown regime {images_per_class!r}; give a number, 'all' or 'long-tailed:N:RATIO'")
    return LongTailedRegime(int(match[1]), float(match[2]), order)


def check_regime(train: LabelledImages, regime: Regime) -> None:
    """Make sure that `train` can fill the regime.

    Raises:
        UsageError: a class has fewer images than asked for.
    """
    wanted, counts = regime.wanted(train), train.class_counts()
    poorest = int((counts - wanted).argmin())
    if counts[poorest] < wanted[poorest]:
        enough = f"ask for {counts.min()} or fewer, or 'all'" if isinstance(regime, BalancedRegime) else "ask for fewer"
        raise UsageError(
            f"{wanted[poorest]} images of class {train.class_names[poorest]!r} were asked for ({regime.title}), "
            f"but the train split has only {counts[poorest]}; {enough}"
        )


def draw_subset(train: LabelledImages, regime: Regime, *, rng: np.random.Generator) -> LabelledImages:
    """Draw the regime's images from `train` without replacement, stratified by class, ordered by row number.

    Raises:
        UsageError: a class has fewer images than asked for.
    """
    check_regime(train, regime)
    wanted = regime.wanted(train)
    if wanted.sum() == len(train):
        return train
    drawn = [
        rng.choice(np.flatnonzero(train.labels == label), int(count), replace=False)
        for label, count in enumerate(wanted)
    ]
    return train.take(np.sort(np.concatenate(drawn)).astype(np.int64))
