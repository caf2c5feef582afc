"""Arms: the sets of training images whose classifiers a cell compares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from data.augmentation import DeformationConfig
from data.base.errors import UsageError
from data.images import LabelledImages
from evaluation.config import BALANCING_ARMS, ArmName, EvaluationConfig

HEADLINE_ARM: ArmName = "real+classical+synthetic"
HEADLINE_REFERENCE: ArmName = "real+classical"
FILTERED_ARM: ArmName = "real+classical+filtered"
EVENED_OUT_ARM: ArmName = "evened-out"
REFERENCE_ARMS: dict[ArmName, ArmName | None] = {
    "real": None,
    "real+classical": "real",
    "real+synthetic": "real",
    HEADLINE_ARM: HEADLINE_REFERENCE,
    FILTERED_ARM: "real+classical",
    "oversampled": "real+classical",
    "class-weighted": "real+classical",
    EVENED_OUT_ARM: "oversampled",
    "synthetic": "real",
    "synthetic+classical": "real+classical",
    "real+duplicated": "real",
}
ARM_DESCRIPTIONS: dict[ArmName, str] = {
    "real": "the labelled images as they are",
    "real+classical": "the labelled images, deformed anew in every batch: classical augmentation",
    "real+synthetic": "the labelled images, and the GAN's at a share of each batch that fades over the training and is "
    "the smaller the more labelled images there are",
    HEADLINE_ARM: "the labelled images, and the GAN's at the same share as in real+synthetic, deformed",
    FILTERED_ARM: "as real+classical+synthetic, with those of the GAN's images only whose label others believe",
    "oversampled": "as real+classical, every batch drawn evenly by class, so that rare classes come as often",
    "class-weighted": "as real+classical, a mistake costs more the rarer its class is",
    EVENED_OUT_ARM: "as oversampled, but the GAN's images, not copies, fill every class up to the largest one's number",
    "synthetic": "the GAN's images alone: train on synthetic, test on real (TSTR)",
    "synthetic+classical": "the GAN's images alone, deformed",
    "real+duplicated": "the control: the labelled images repeated in the GAN's place, which must show no gain",
}
DEFORMED_ARMS: tuple[ArmName, ...] = (
    "real+classical",
    HEADLINE_ARM,
    FILTERED_ARM,
    *BALANCING_ARMS,
    "synthetic+classical",
)
Balance = Literal["none", "batches", "loss"]


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """What a classifier trains on.

    Attributes:
        base: the images that the arm starts from.
        added: images mixed into the batches at a share that is the same in every arm, or None.
        deformation: the classical augmentation, applied to all images of a batch alike, or None.
        balance: what makes up for rare classes: nothing, batches drawn evenly by class, or a loss weighted by inverse
            class frequency.
    """

    base: LabelledImages
    added: LabelledImages | None
    deformation: DeformationConfig | None
    balance: Balance = "none"


def training_set(
    arm: ArmName,
    *,
    subset: LabelledImages,
    synthetic: LabelledImages,
    deformation: DeformationConfig,
    evened_out_share: float = 1.0,
) -> TrainingSet:
    """Compose the training set of `arm`.

    `synthetic` alone is "train on synthetic, test on real" (TSTR; classification accuracy score in Ravuri & Vinyals
    2019, arXiv 1905.10887). `real+duplicated` repeats the real images to the size of the synthetic set: a control
    that must show no gain. For `real+classical+filtered` the caller passes what `evaluation.filtering` let through.

    Raises:
        UsageError: the synthetic set is too small to even the classes out.
    """
    base, added = subset, None
    if arm in ("real+synthetic", HEADLINE_ARM, FILTERED_ARM):
        added = synthetic
    elif arm == "real+duplicated":
        added = subset.take(np.resize(np.arange(len(subset)), len(synthetic)))
    elif arm in ("synthetic", "synthetic+classical"):
        base = synthetic
    elif arm == EVENED_OUT_ARM:
        base = evened_out(subset, synthetic, share=evened_out_share)
    return TrainingSet(
        base=base,
        added=added,
        deformation=deformation if arm in DEFORMED_ARMS else None,
        balance=_balance(arm),
    )


def check_arms(config: EvaluationConfig, *, regimes: Sequence[npt.NDArray[np.int64]], images_per_class: int) -> None:
    """Make sure that the arms for rare classes have something to do, and enough synthetic images for it.

    Args:
        regimes: the number of images of each class, (num_classes,) int64, for every regime of the study.
        images_per_class: synthetic images of each class.

    Raises:
        UsageError: every regime has the same number of images of each class, or too few synthetic images are drawn.
    """
    asked = [arm for arm in BALANCING_ARMS if arm in config.arms]
    if asked and all(counts.min() == counts.max() for counts in regimes):
        raise UsageError(
            f"{', '.join(asked)} would be real+classical once more, since every class has the same number of images; "
            "leave them out of evaluation.arms, or add a regime such as 'long-tailed:500:100'"
        )
    if EVENED_OUT_ARM in asked:
        most = max(int(synthetic_shares(counts, share=config.evened_out_share).max()) for counts in regimes)
        if most > images_per_class:
            raise _too_few_synthetic(most, images_per_class)


def synthetic_shares(counts: npt.NDArray[np.int64], *, share: float) -> npt.NDArray[np.int64]:
    """Return how many synthetic images fill up each class of the arm `evened-out`, (num_classes,) int64.

    Args:
        counts: real images of each class, (num_classes,) int64.
        share: synthetic images make up at most this share of a class.
    """
    largest = int(counts.max())
    return np.minimum(largest - counts, round(share * largest)).astype(np.int64)


def evened_out(subset: LabelledImages, synthetic: LabelledImages, *, share: float) -> LabelledImages:
    """Return the subset with every class filled up to the number of the largest one (as BAGAN, arXiv 1803.09655).

    The first synthetic images of each class fill it, up to `share` of the class; beyond that real ones are repeated.
    So `share` 1 repeats no real image, and a share near 0 would be `oversampled`. Synthetic images keep the row numbers
    of the synthetic set.

    Raises:
        UsageError: the synthetic set is too small.
    """
    filling = _first_of_each(synthetic, synthetic_shares(subset.class_counts(), share=share))
    together = _joined(subset, filling)
    lacking = subset.class_counts().max() - together.class_counts()
    repeats = [np.resize(np.flatnonzero(subset.labels == label), count) for label, count in enumerate(lacking) if count]
    return _joined(together, subset.take(np.concatenate(repeats))) if repeats else together


def evened_rows(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return positions (M,) int64 that hold every class of `labels` as often as the most frequent one."""
    classes, counts = np.unique(labels, return_counts=True)
    return np.concatenate([np.resize(np.flatnonzero(labels == label), counts.max()) for label in classes])


def _balance(arm: ArmName) -> Balance:
    if arm in ("oversampled", EVENED_OUT_ARM):
        return "batches"
    return "loss" if arm == "class-weighted" else "none"


def _first_of_each(images: LabelledImages, counts: npt.NDArray[np.int64]) -> LabelledImages:
    there = images.class_counts()
    if (there < counts).any():
        raise _too_few_synthetic(int(counts.max()), int(there.min()))
    rows = [np.flatnonzero(images.labels == label)[:count] for label, count in enumerate(counts)]
    return images.take(np.sort(np.concatenate(rows)))


def _too_few_synthetic(needed: int, there: int) -> UsageError:
    return UsageError(
        f"the arm evened-out needs {needed:,} synthetic images of a class, and there are {there:,}; "
        f"use --set sampling.images_per_class={needed}, or a smaller evaluation.evened_out_share"
    )


def _joined(first: LabelledImages, second: LabelledImages) -> LabelledImages:
    return LabelledImages(
        images=np.concatenate([first.images, second.images]),
        labels=np.concatenate([first.labels, second.labels]),
        rows=np.concatenate([first.rows, second.rows]),
        class_names=first.class_names,
    )
