"""Studies with a known truth, for holding the intervals to their promise.

The sizes are those measured on MNIST with 10 images per class: a gain differs by 0.40 points (SD) between subsets and
by 0.68 between seeds; of the variance of one image's difference, 0.0004 is shared by replicates with different subsets
and 0.0045 by those with the same one, and their sum with what nothing shares is taken as 0.03 (three in a hundred
answers differ).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.image_values import ImageValues

DRAW_VARIANCE, SEED_VARIANCE = 0.0040**2, 0.0068**2
SHARED_BY_ALL, SHARED_IN_SUBSET = 0.0004, 0.0045
IMAGE_VARIANCE = 0.03
MOST_UNITS = 200

IntArray = npt.NDArray[np.int64]


def shared_image_variance(overlap: float) -> float:
    """Return the variance of an image's difference that two replicates share whose subsets overlap so much."""
    return SHARED_BY_ALL + overlap * (SHARED_IN_SUBSET - SHARED_BY_ALL)


@dataclass(frozen=True, kw_only=True)
class Units:
    """Images, or blocks of as many of them where there are too many to simulate: only a block's mean matters.

    Attributes:
        images: test images.
    """

    images: int

    @property
    def number(self) -> int:
        """Blocks."""
        return min(self.images, MOST_UNITS) if self.images > 4 * MOST_UNITS else self.images

    @property
    def per_block(self) -> float:
        """Images in a block."""
        return self.images / self.number


@dataclass(frozen=True, kw_only=True)
class SimulatedDraws:
    """Fresh draws from a pool with normal effects, the true gain 0.

    Attributes:
        overlap: share of its images that a subset has in common with another one.
    """

    replicates: int
    seeds: int
    images: int
    overlap: float = 0.0
    draw_variance: float = DRAW_VARIANCE
    seed_variance: float = SEED_VARIANCE
    image_variance: float = IMAGE_VARIANCE

    @property
    def shared(self) -> float:
        """Variance of one image's difference that all replicates share."""
        return shared_image_variance(self.overlap)

    @property
    def variance_of_mean(self) -> float:
        """The truth that an interval's width should come from."""
        between = (1 - self.overlap) * self.draw_variance + self.seed_variance / self.seeds
        residual = (self.image_variance - self.shared) / (self.replicates * self.seeds)
        return between / self.replicates + self.overlap * self.draw_variance + (self.shared + residual) / self.images

    def gains(self, rng: np.random.Generator) -> ImageValues:
        """Return the values of one study, (R, S, units)."""
        return self.regimes(rng, 1)[0]

    def regimes(self, rng: np.random.Generator, number: int) -> list[ImageValues]:
        """Return the values of several regimes, judged on the same test images that favour an arm in all of them."""
        units = Units(images=self.images)
        shape = (number, self.replicates, self.seeds, units.number)
        draws = np.sqrt(1 - self.overlap) * rng.normal(size=(*shape[:2], 1, 1))
        effects = draws + np.sqrt(self.overlap) * rng.normal(size=(number, 1, 1, 1))
        effects = np.sqrt(self.draw_variance) * effects
        effects = effects + np.sqrt(self.seed_variance) * rng.normal(size=(*shape[:3], 1))
        by_image = np.sqrt(self.shared / units.per_block) * rng.normal(size=units.number)
        residual = rng.normal(scale=np.sqrt((self.image_variance - self.shared) / units.per_block), size=shape)
        return [ImageValues(values=values, unit=1 / units.per_block) for values in effects + by_image + residual]


@dataclass(frozen=True, kw_only=True)
class SimulatedDataSet:
    """Repeated K-fold on one data set with effects that are linear in the training images, the true gain 0.

    Each image has an influence on the gain of the models trained on it, and, as a test image, its own difference;
    replicates share both as far as their folds make them.
    """

    images: int
    num_folds: int
    repeats: int
    seeds: int = 1
    draw_variance: float = DRAW_VARIANCE
    seed_variance: float = SEED_VARIANCE
    image_variance: float = IMAGE_VARIANCE

    @property
    def shared(self) -> float:
        """Variance of one image's difference that all repeats share."""
        return shared_image_variance(1 - 1 / self.num_folds)

    @property
    def variance_of_mean(self) -> float:
        """The truth that an interval's width should come from."""
        fits = self.num_folds * self.repeats * self.seeds
        residual = (self.image_variance - self.shared) / (self.repeats * self.seeds)
        of_data_set = self.draw_variance * (1 - 1 / self.num_folds)
        return of_data_set + self.seed_variance / fits + (self.shared + residual) / self.images

    def study(self, rng: np.random.Generator) -> tuple[ImageValues, IntArray]:
        """Return the values of one study, (J, S, units), and the folds, (J, units)."""
        units = Units(images=self.images)
        even = np.arange(units.number) % self.num_folds
        folds = np.stack([rng.permutation(even) for _ in range(self.repeats)]).astype(np.int64)
        train = units.number * (1 - 1 / self.num_folds)
        influence = rng.normal(scale=np.sqrt(self.draw_variance * train), size=units.number)
        values = np.empty((self.repeats, self.seeds, units.number))
        by_image = rng.normal(scale=np.sqrt(self.shared / units.per_block), size=units.number)
        for repeat, fold_of in enumerate(folds):
            sizes = np.bincount(fold_of, minlength=self.num_folds)
            of_test = np.bincount(fold_of, influence, self.num_folds)
            of_training = (influence.sum() - of_test) / (units.number - sizes)
            by_fit = of_training + rng.normal(scale=np.sqrt(self.seed_variance), size=(self.seeds, self.num_folds))
            values[repeat] = by_fit[:, fold_of] + by_image
        residual = rng.normal(scale=np.sqrt((self.image_variance - self.shared) / units.per_block), size=values.shape)
        return ImageValues(values=values + residual, unit=1 / units.per_block), folds


@dataclass(frozen=True, kw_only=True)
class SimulatedAnswers:
    """Fresh draws with differences of 1, 0 and -1, the true gain 0.

    One image in ten is a hard one. Two classifiers differ on three in ten of these, and which of them is right depends
    on the image, on the replicate and on chance.

    Attributes:
        shared: variance of one image's difference that all replicates share.
        spread: SD of the gain between replicates.
    """

    replicates: int
    images: int
    shared: float = SHARED_IN_SUBSET
    spread: float = 0.0079

    def gains(self, rng: np.random.Generator) -> ImageValues:
        """Return the values of one study, (R, 1, N)."""
        hard = rng.random(self.images) < 0.1
        leaning = np.sqrt(self.shared / 0.1) * rng.choice([-1.0, 1.0], self.images)
        shift = rng.normal(scale=self.spread / 0.1, size=(self.replicates, 1, 1))
        better = np.clip(0.15 + (leaning + shift) / 2, 0, 0.3) * hard
        worse = np.clip(0.15 - (leaning + shift) / 2, 0, 0.3) * hard
        chance = rng.random((self.replicates, 1, self.images))
        return ImageValues(values=(chance < better) * 1.0 - ((chance >= better) & (chance < better + worse)))
