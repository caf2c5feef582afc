"""How a study repeats itself: fresh draws from a large pool, or folds of one data set.

*Fresh draws*: each replicate draws its own subset from a pool at least ten times as large, and all are tested on the
same images. The answer is about data sets of this size. *One data set*: everything else. Repeated stratified K-fold
(Kohavi 1995): each replicate trains on the images of K - 1 folds and is tested on the fold that is left, so every image
is tested. The answer is about this data set's population. Images of one group (such as a patient's) and identical
images never stand on both sides. *Given test*, on request: every replicate trains on all images and is tested on the
test split that the user gave, so that the chance in training alone is repeated.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from data.base.errors import UsageError
from data.base.randomness import child_seed, numpy_stream
from data.config import DataConfig, ImagesPerClass
from data.copies import kept_together
from data.images import LabelledImages, identities
from data.regimes import Regime, check_regime, regime_of
from data.sources.source import Source
from data.unlabelled import REST_OF_POOL, UnlabelledSource

USUAL_FOLDS = 4  # at equal cost fewer folds and more repeats make a narrower interval (benchmarks/TRIALS.md)
FEW_LABELS = 10  # images of each class: where a generator may have the most to add
LEAST_POOL = 10  # subsets that a pool of fresh draws could be divided into
DesignName = Literal["fresh draws", "one data set", "given test"]


@dataclass(frozen=True, kw_only=True)
class ReplicateSplit:
    """What one replicate draws its subset from, what it is tested on, and what is reported beside.

    Attributes:
        beside: the test split that the user gave, where `test` is a fold.
    """

    pool: LabelledImages
    test: LabelledImages
    beside: LabelledImages | None


@dataclass(frozen=True, kw_only=True)
class FreshDraws:
    """Every replicate draws its own subset from the pool; all are tested on the same images.

    Attributes:
        regime: how many images a replicate draws.
        pool: what they are drawn from.
        test: what all replicates are tested on.
        tested_on: in words, what that is.
        without_labels: in words, which images without labels a replicate has; "" for none.
    """

    regime: Regime
    pool: LabelledImages
    test: LabelledImages
    tested_on: str
    without_labels: str = ""

    name: DesignName = "fresh draws"
    folds: int = 1

    @property
    def tested(self) -> LabelledImages:
        """All images that are tested."""
        return self.test

    @property
    def drawn_share(self) -> float:
        """The share of the pool that one draw takes."""
        return float(self.regime.wanted(self.pool).sum() / len(self.pool))

    @property
    def sentence(self) -> str:
        """Say what was repeated, and what the answer is about."""
        return (
            f"fresh draws: every replicate draws {self.regime.wanted(self.pool).sum():,} images from a pool of "
            f"{len(self.pool):,}, and all are tested on {self.tested_on}; the answer is about data sets of this size"
            f"{self.without_labels}"
        )

    def split(self, replicate: int) -> ReplicateSplit:  # noqa: ARG002 (the same for all)
        """Return the pool and the test images, the same for every replicate."""
        return ReplicateSplit(pool=self.pool, test=self.test, beside=None)


@dataclass(frozen=True, kw_only=True)
class OneDataSet:
    """Repeated stratified K-fold of one data set: replicate r is fold r mod K of repeat r div K.

    Attributes:
        images: the whole data set, the test split that the user gave aside.
        beside: that test split.
        seed: the study's, from which the folds of each repeat are drawn.
        without_labels: in words, which images without labels a replicate has; "" for none.
    """

    regime: Regime
    images: LabelledImages
    beside: LabelledImages | None
    folds: int
    seed: int
    without_labels: str = ""

    name: DesignName = "one data set"

    @property
    def tested(self) -> LabelledImages:
        """All images that are tested."""
        return self.images

    @property
    def drawn_share(self) -> float:
        """The share of the data set that one replicate trains on."""
        pool = self.images.take(np.flatnonzero(self.fold_numbers(0) != 0))
        return float(self.regime.wanted(pool).sum() / len(self.images))

    @property
    def sentence(self) -> str:
        """Say what was repeated, and what the answer is about."""
        text = (
            f"one data set: {self.folds} folds of its {len(self.images):,} images, each fold tested by classifiers "
            f"that saw the {self.folds - 1} other ones; the answer is about the population that these images stand for"
        )
        if self.beside is not None:
            text += f"; the test split of {len(self.beside):,} images decides nothing and is reported beside"
        return text + self.without_labels

    def fold_numbers(self, repeat: int) -> npt.NDArray[np.int64]:
        """Return the fold of each image in one repeat, (N,) int64 in [0, K). Computed once: every stage asks."""
        if repeat not in self._numbers:
            seed = child_seed(self.seed, "folds", repeat)
            numbers = stratified_folds(self.images.labels, folds=self.folds, groups=self._groups, seed=seed)
            numbers.flags.writeable = False
            self._numbers[repeat] = numbers
        return self._numbers[repeat]

    def split(self, replicate: int) -> ReplicateSplit:
        """Return the images of the other folds, and those of the replicate's own."""
        repeat, fold = divmod(replicate, self.folds)
        tested = self.fold_numbers(repeat) == fold
        joined = replace(self.images, groups=self._groups)
        return ReplicateSplit(
            pool=self.images.take(np.flatnonzero(~tested)),
            test=joined.take(np.flatnonzero(tested)),
            beside=self.beside,
        )

    @cached_property
    def _numbers(self) -> dict[int, npt.NDArray[np.int64]]:
        return {}

    @cached_property
    def _groups(self) -> npt.NDArray[np.int64] | None:
        return undivided(self.images)


def stratified_folds(
    labels: npt.NDArray[np.int64], *, folds: int, groups: npt.NDArray[np.int64] | None, seed: int
) -> npt.NDArray[np.int64]:
    """Return the fold of each image, (N,) int64 in [0, K): every class spread evenly, no group divided.

    Args:
        labels: (N,) int64.
        groups: (N,) int64, equal where images must not be divided; None where all may be.
    """
    numbers = np.empty(len(labels), np.int64)
    state = seed % 2**32
    splitter = (
        StratifiedKFold(folds, shuffle=True, random_state=state)
        if groups is None
        else StratifiedGroupKFold(folds, shuffle=True, random_state=state)
    )
    for number, (_, tested) in enumerate(splitter.split(labels, labels, groups)):
        numbers[tested] = number
    return numbers


def undivided(images: LabelledImages) -> npt.NDArray[np.int64] | None:
    """Return groups of images that must not be divided (N,) int64; None where every image stands alone."""
    groups = kept_together(images)
    return groups if len(np.unique(groups)) < len(groups) else None


@dataclass(frozen=True, kw_only=True)
class GivenTest:
    """Every replicate trains on all images, and is tested on the test split that the user gave."""

    regime: Regime
    images: LabelledImages
    test: LabelledImages

    name: DesignName = "given test"
    folds: int = 1

    @property
    def tested(self) -> LabelledImages:
        """All images that are tested."""
        return self.test

    @property
    def drawn_share(self) -> float:
        """The share of the images that one replicate trains on."""
        return 1.0

    @property
    def sentence(self) -> str:
        """Say what was repeated, and what the answer is about."""
        return (
            f"given test: every replicate trains on all {len(self.images):,} images, and is tested on the test split "
            f"of {len(self.test):,}; the interval carries the chance in training and the test images, and the answer "
            "is about these very training images"
        )

    def split(self, replicate: int) -> ReplicateSplit:  # noqa: ARG002 (the same for all)
        """Return all images and the test split, the same for every replicate."""
        return ReplicateSplit(pool=self.images, test=self.test, beside=None)


Design = FreshDraws | OneDataSet | GivenTest


def resolve_images_per_class(config: DataConfig, source: Source) -> tuple[ImagesPerClass, ...]:
    """Return the regimes, "auto" decided: 10 images of each class where the pool is large enough, else all."""
    if config.images_per_class != "auto":
        return config.images_per_class
    if config.design == "given test":
        return ("all",)
    return (FEW_LABELS,) if has_fresh_draws(source, regime_of(FEW_LABELS)) else ("all",)


def has_fresh_draws(source: Source, regime: Regime) -> bool:
    """Tell whether the train split is a pool for fresh draws: ten times the subset, in every class."""
    return bool((LEAST_POOL * regime.wanted(source.train) <= source.train.class_counts()).all())


def design_of(source: Source, regime: Regime, config: DataConfig, *, seed: int) -> Design:
    """Choose the design of one regime by the rule of this module, or take the one that the configuration asks for.

    Args:
        seed: the study's.

    Raises:
        UsageError: the data cannot make the design, with what to do about it.
    """
    name = config.design
    if name == "auto":
        name = "fresh draws" if has_fresh_draws(source, regime) else "one data set"
    if name == "fresh draws":
        return _fresh_draws(source, regime, config, seed=seed)
    if name == "given test":
        return _given_test(source, regime, config)
    if config.unlabelled == REST_OF_POOL:
        raise UsageError(
            f"data.unlabelled=pool needs fresh draws, which leave a rest of the pool, and with {regime.title} a study "
            f"of {source.name} has folds; name other images without labels, such as data.unlabelled=folder:PATH, or "
            "ask for fewer images per class"
        )
    if config.judge_on == "validation":
        raise UsageError(
            "data.judge_on = validation needs a pool for fresh draws; folds of one data set leave its test split alone "
            "anyway"
        )
    images = source.train if not source.held_out else whole_images(source)
    design = OneDataSet(
        regime=regime,
        images=images,
        beside=None if source.held_out else source.test,
        folds=_number_of_folds(images, config),
        seed=seed,
        without_labels=_given_beside(source.unlabelled, config),
    )
    check_regime(design.split(0).pool, regime)
    return design


def _given_test(source: Source, regime: Regime, config: DataConfig) -> GivenTest:
    if source.held_out:
        raise UsageError(
            "data.design = given test needs a test split, and the data set has none; name one with data.test, or leave "
            "data.design to auto"
        )
    if regime.images_per_class != "all" or config.judge_on == "validation":
        raise UsageError(
            "data.design = given test trains on all images and judges on the test split; leave out "
            "data.images_per_class and data.judge_on"
        )
    return GivenTest(regime=regime, images=source.train, test=source.test)


def _fresh_draws(source: Source, regime: Regime, config: DataConfig, *, seed: int) -> FreshDraws:
    if not has_fresh_draws(source, regime):
        needed, there = LEAST_POOL * regime.wanted(source.train), source.train.class_counts()
        short = int((there - needed).argmin())
        raise UsageError(
            f"fresh draws of {regime.title} need {needed[short]:,} images of class {source.train.class_names[short]!r} "
            f"in the pool, {LEAST_POOL} times a subset's, and there are {there[short]:,}; ask for fewer, or leave "
            "data.design to auto"
        )
    if config.judge_on == "test":
        words = f"the test split of {len(source.test):,} images"
        return FreshDraws(
            regime=regime,
            pool=source.train,
            test=source.test,
            tested_on=words,
            without_labels=_unlabelled_words(source, regime, config, pool=source.train, test=source.test),
        )
    rng = numpy_stream(seed, "validation images")
    share = min(config.validation_images / len(source.train), 0.5)
    chosen = np.zeros(len(source.train), bool)
    for label, count in enumerate(source.train.class_counts()):
        of_class = np.flatnonzero(source.train.labels == label)
        chosen[rng.choice(of_class, round(share * int(count)), replace=False)] = True
    test, pool = (source.train.take(np.flatnonzero(part)) for part in (chosen, ~chosen))
    words = f"{len(test):,} validation images out of the train split; the test split stays untouched"
    return FreshDraws(
        regime=regime,
        pool=pool,
        test=test,
        tested_on=words,
        without_labels=_unlabelled_words(source, regime, config, pool=pool, test=test),
    )


def _unlabelled_words(
    source: Source, regime: Regime, config: DataConfig, *, pool: LabelledImages, test: LabelledImages
) -> str:
    """Say which images without labels a replicate of fresh draws has, as the end of a sentence; "" for none."""
    if config.unlabelled != REST_OF_POOL:
        return _given_beside(source.unlabelled, config)
    tested = {*identities(test), *identities(source.test)}
    copies = sum(identity in tested for identity in identities(pool))
    rest = len(pool) - int(regime.wanted(pool).sum())
    without = f"; {copies:,} copies of test images are not among them" if copies else ""
    return f"; each has {min(rest, config.max_unlabelled):,} images of the pool's rest too, without labels{without}"


def _given_beside(given: UnlabelledSource | None, config: DataConfig) -> str:
    if given is None:
        return ""
    count = min(len(given.images), config.max_unlabelled)
    copies = given.copies_of_test + given.copies_of_train
    without = (
        f"; {copies:,} copies of the data set's own images, {given.copies_of_test:,} of them of test images, are not "
        "among them"
        if copies
        else ""
    )
    return f"; each replicate has {count:,} images of {given.name} too, without labels{without}"


def whole_images(source: Source) -> LabelledImages:
    """Return a data set again from which a test split was held out, its rows in order."""
    parts = (source.train, source.test)
    both_grouped = all(part.groups is not None for part in parts)
    whole = LabelledImages(
        images=np.concatenate([part.images for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
        class_names=source.train.class_names,
        groups=np.concatenate([part.groups for part in parts if part.groups is not None]) if both_grouped else None,
    )
    return whole.take(np.argsort(whole.rows, kind="stable").astype(np.int64))


def _number_of_folds(images: LabelledImages, config: DataConfig) -> int:
    """Return K: as configured, or 4, or as many as the rarest class has images (or groups) for.

    Raises:
        UsageError: a class has too few.
    """
    groups = kept_together(images)
    counts = [len(np.unique(groups[images.labels == label])) for label in range(images.num_classes)]
    rarest = int(np.argmin(counts))
    least, name = counts[rarest], images.class_names[rarest]
    unit = "images" if len(np.unique(groups)) == len(groups) else "groups of images"
    if least < 2:
        raise UsageError(
            f"class {name!r} has a single one of its {unit}: it cannot be both trained on and tested; add images, or "
            "leave the class out"
        )
    if config.folds == "auto":
        return min(USUAL_FOLDS, least)
    if config.folds > least:
        raise UsageError(
            f"class {name!r} has {least} {unit}, too few for {config.folds} folds; use --set data.folds={least}"
        )
    return config.folds
