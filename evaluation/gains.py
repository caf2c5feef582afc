"""From the stored predictions of all replicates of a regime to its gains, each with all its errors.

`RegimeAnswers` holds what every arm answered on every test image. A gain is the difference of two arms, with an
interval by the design of the study (`evaluation.intervals`) and a verdict read off it (`evaluation.verdicts`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evaluation.arms import ARMS, HEADLINE_ARM, HEADLINE_REFERENCE, MORE_LABELS, ArmName
from evaluation.class_gains import ClassGain, class_gains
from evaluation.image_values import ImageValues, IntArray, accuracy_values, macro_f1_values, recall_values
from evaluation.intervals import (
    CrossValidation,
    Design,
    Estimate,
    FreshDraws,
    NextDraw,
    Unavailable,
    VarianceParts,
    mean_overlap,
)
from evaluation.predictions import Predictions
from evaluation.verdicts import Needed, NextLook, Verdict, judge, read_off
from evaluation.worth import LabelsWorth, worth_in_labels

MetricName = Literal["accuracy", "macro_f1", "tail_recall"]


@dataclass(frozen=True, kw_only=True)
class CellAnswers:
    """What the classifiers of one cell answered.

    Attributes:
        replicate: counted from 0 in the study.
        subset_rows: (n,) int64, the rows of the data set that the cell trained on.
        arms: the predictions of each arm, one for each classifier seed, all on the same images.
    """

    replicate: int
    subset_rows: IntArray
    arms: Mapping[ArmName, Sequence[Predictions]]


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A paired difference of two arms with its interval, shares of the test images.

    Attributes:
        values: one difference per replicate.
        low, high: the interval at the study's confidence, for all regimes together; None where not available.
        p_value: two-sided, by itself; None where not available.
        verdict: read off the interval.
        parts: what makes up the variance of the mean.
        unavailable: why there is no interval, or "".
    """

    mean: float
    values: tuple[float, ...]
    low: float | None
    high: float | None
    p_value: float | None
    verdict: Verdict
    parts: VarianceParts | None
    unavailable: str = ""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What a regime says of an arm held against others: the headline arm against those that need no GAN.

    Attributes:
        gain: over the best of the others, by `evaluation.verdicts`.
        over: which arm that is.
        rivals: the gain over each of the others.
        needed: what it would take to decide, where undecided.
        next_draw: what somebody with one subset may expect; None where not available.
    """

    gain: Gain
    over: ArmName
    rivals: dict[ArmName, Gain]
    needed: Needed | None
    next_draw: NextDraw | None


@dataclass(frozen=True, kw_only=True)
class RegimeAnswers:
    """The answers of all arms in all replicates of a regime, on the same images.

    Attributes:
        labels: (N,) int64, true classes.
        predicted: for each arm (R, S, N) int64 with R replicates, or repeats of folds, and S classifier seeds.
        design: how the replicates came about.
        folds: of each repeat; 1 for fresh draws.
    """

    labels: IntArray
    num_classes: int
    predicted: Mapping[ArmName, IntArray]
    design: Design
    folds: int

    @classmethod
    def of(cls, cells: Sequence[CellAnswers], *, folds: int) -> "RegimeAnswers":
        """Put the answers of a regime's cells together.

        Args:
            cells: one or more; where there are folds, whole repeats of them.
            folds: K of the design *one data set*; 1 for fresh draws.

        Raises:
            ValueError: the cells do not answer on the same images, or not on all of a repeat's.
        """
        first = next(iter(cells[0].arms.values()))[0]
        num_classes = first.probabilities.shape[1]
        if folds == 1:
            overlap = mean_overlap([cell.subset_rows for cell in cells])
            for cell in cells:
                for predictions in cell.arms.values():
                    if not all(np.array_equal(one.rows, first.rows) for one in predictions):
                        raise ValueError("the arms of a regime answer on different test images")
            return cls(
                labels=first.labels,
                num_classes=num_classes,
                predicted={
                    arm: np.stack([np.stack([one.predicted for one in cell.arms[arm]]) for cell in cells])
                    for arm in cells[0].arms
                },
                design=FreshDraws(  # of the very same images nothing is drawn: the answer is about these
                    overlap=overlap if overlap < 1 else 0.0, clusters=_clusters(first.groups)
                ),
                folds=1,
            )
        return cls._of_folds(cells, folds=folds, num_classes=num_classes)

    @classmethod
    def _of_folds(cls, cells: Sequence[CellAnswers], *, folds: int, num_classes: int) -> "RegimeAnswers":
        if len(cells) % folds:
            raise ValueError(f"{len(cells)} cells are no whole repeats of {folds} folds")
        repeats = [cells[start : start + folds] for start in range(0, len(cells), folds)]
        some_arm = next(iter(cells[0].arms))
        rows = np.sort(np.concatenate([cell.arms[some_arm][0].rows for cell in repeats[0]]))
        labels = np.empty(len(rows), np.int64)
        groups: IntArray | None = None
        fold_of = np.full((len(repeats), len(rows)), -1, np.int64)
        predicted = {
            arm: np.empty((len(repeats), len(answers), len(rows)), np.int64) for arm, answers in cells[0].arms.items()
        }
        for number, repeat in enumerate(repeats):
            for fold, cell in enumerate(repeat):
                for arm, answers in cell.arms.items():
                    for seed, one in enumerate(answers):
                        places = np.searchsorted(rows, one.rows)
                        if places.max(initial=0) >= len(rows) or not np.array_equal(rows[places], one.rows):
                            raise ValueError("the repeats of a regime answer on different images")
                        predicted[arm][number, seed, places] = one.predicted
                        labels[places] = one.labels
                        fold_of[number, places] = fold
                        if one.groups is not None:
                            groups = np.zeros(len(rows), np.int64) if groups is None else groups
                            groups[places] = one.groups
        if (fold_of < 0).any():
            raise ValueError("a repeat does not test every image")
        return cls(
            labels=labels,
            num_classes=num_classes,
            predicted=predicted,
            design=CrossValidation(folds=fold_of, classes=labels, clusters=groups),
            folds=folds,
        )

    def difference(self, arm: ArmName, over: ArmName, *, metric: MetricName, tail: Sequence[int] = ()) -> ImageValues:
        """Return each image's part in the difference of a metric, values (R, S, N); seeds that only one arm has are
        left out.

        Args:
            tail: the rare classes, for `tail_recall`.
        """
        seeds = min(self.predicted[arm].shape[1], self.predicted[over].shape[1])
        return self._values(arm, seeds, metric, tail) - self._values(over, seeds, metric, tail)

    def _values(self, arm: ArmName, seeds: int, metric: MetricName, tail: Sequence[int]) -> ImageValues:
        predicted = self.predicted[arm][:, :seeds]
        match metric:
            case "accuracy":
                return accuracy_values(self.labels, predicted)
            case "macro_f1":
                return macro_f1_values(self.labels, predicted, num_classes=self.num_classes)
            case "tail_recall":
                return recall_values(self.labels, predicted, classes=tail)

    def gain(
        self,
        arm: ArmName,
        over: ArmName,
        *,
        alpha: float,
        wished_gain: float,
        metric: MetricName = "accuracy",
        tail: Sequence[int] = (),
    ) -> Gain:
        """Return the gain of one arm over another.

        Args:
            alpha: probability that the interval misses.
        """
        values = self.difference(arm, over, metric=metric, tail=tail)
        return gain_of(self.design.estimate(values), values, alpha=alpha, wished_gain=wished_gain)

    def headline(self, *, alpha: float, wished_gain: float, later_alpha: float | None = None) -> Headline:
        """Judge the headline arm by its gain over every arm that needs no GAN.

        Args:
            later_alpha: probability that an interval of more replicates will miss, which says how many it takes;
                None: the same.
        """
        later = NextLook(alpha=alpha if later_alpha is None else later_alpha, multiple_of=self.folds)
        return self.over_best(HEADLINE_ARM, self.rivals(), alpha=alpha, wished_gain=wished_gain, later=later)

    def means(self, arm: ArmName, metric: MetricName, *, tail: Sequence[int] = ()) -> list[float]:
        """Return a metric of an arm in each replicate, or repeat of folds, its mean over seeds: what gains are of."""
        values = self._values(arm, self.predicted[arm].shape[1], metric, tail).values
        means: list[float] = values.mean((1, 2)).tolist()
        return means

    def rivals(self, *, with_unlabelled: bool | None = None) -> list[ArmName]:
        """Return the arms that need no GAN: all, or only those that see images without labels, or that see none."""
        return [
            arm
            for arm in self.predicted
            if ARMS[arm].role == "without generator" and with_unlabelled in (None, ARMS[arm].needs_unlabelled)
        ]

    def over_best(
        self,
        arm: ArmName,
        rivals: Sequence[ArmName],
        *,
        alpha: float,
        wished_gain: float,
        metric: MetricName = "accuracy",
        later: NextLook | None = None,
    ) -> Headline:
        """Judge an arm by its gain over every one of others.

        Args:
            rivals: one or more.
            later: see `judge`.
        """
        differences = [self.difference(arm, rival, metric=metric) for rival in rivals]
        estimates = [self.design.estimate(values) for values in differences]
        judged = judge(estimates, alpha=alpha, wished_gain=wished_gain, later=later)
        gains = {
            rival: gain_of(estimate, values, alpha=alpha, wished_gain=wished_gain)
            for rival, estimate, values in zip(rivals, estimates, differences, strict=True)
        }
        closest = min(range(len(rivals)), key=lambda index: gains[rivals[index]].mean)  # the best arm of them
        estimate = estimates[closest]
        return Headline(
            gain=replace(
                gains[rivals[closest]],
                low=judged.low,
                high=judged.high,
                verdict=judged.verdict,
                unavailable=judged.unavailable,
            ),
            over=rivals[closest],
            rivals=gains,
            needed=judged.needed,
            next_draw=estimate.next_draw(1 - alpha) if isinstance(estimate, Estimate) else None,
        )

    def class_gains(self, *, alpha: float) -> list[ClassGain]:
        """Return the headline arm's gain over its reference in the recall of each class, for all classes together."""
        values = self.difference(HEADLINE_ARM, HEADLINE_REFERENCE, metric="accuracy")
        return class_gains(self.labels, values, design=self.design, num_classes=self.num_classes, alpha=alpha)

    def labels_worth(self, *, level: float, per_class: float) -> LabelsWorth | None:
        """Say the headline arm's gain over its reference in labelled images; None where no arm had more of them.

        Args:
            per_class: labelled images of a class in the subset, on average.
        """
        tried = {factor: arm for arm, factor in MORE_LABELS.items() if arm in self.predicted}
        if not tried:
            return None
        seeds = min(self.predicted[arm].shape[1] for arm in tried.values())
        gains = self.difference(HEADLINE_ARM, HEADLINE_REFERENCE, metric="accuracy")
        worth = worth_in_labels(
            ImageValues(values=gains.values[:, :seeds], unit=gains.unit),
            {factor: self.difference(arm, HEADLINE_REFERENCE, metric="accuracy") for factor, arm in tried.items()},
            design=self.design,
            level=level,
            per_class=per_class,
        )
        return None if isinstance(worth, Unavailable) else worth


def _clusters(groups: IntArray | None) -> IntArray | None:
    """Return ids that are equal where images belong together (N,) int64: -1 belongs to none, so each has its own."""
    if groups is None:
        return None
    alone = groups < 0
    own = groups.max(initial=0) + 1 + np.arange(len(groups))
    clusters: IntArray = np.where(alone, own, groups)
    return clusters


def gain_of(estimate: Estimate | Unavailable, values: ImageValues, *, alpha: float, wished_gain: float) -> Gain:
    """Return an estimate as a gain; without one, the mean and the reason."""
    if isinstance(estimate, Unavailable):
        return Gain(
            mean=float(values.values.mean()),
            values=tuple(values.values.mean((1, 2)).tolist()),
            low=None,
            high=None,
            p_value=None,
            verdict="unavailable",
            parts=None,
            unavailable=estimate.reason,
        )
    low, high = estimate.interval(1 - alpha)
    return Gain(
        mean=estimate.mean,
        values=estimate.values,
        low=low,
        high=high,
        p_value=estimate.p_value(),
        verdict=read_off(low, high, wished_gain=wished_gain),
        parts=estimate.parts,
    )
