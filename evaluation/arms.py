"""Arms: the sets of training images whose classifiers a cell compares, one entry of `ARMS` for each.

A new arm is one entry: what it starts from, what is mixed into its batches, and what it is held against.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from data.base.errors import UsageError
from data.images import LabelledImages
from evaluation.config import TrainingConfig
from evaluation.training_set import Balance, TrainingSet

if TYPE_CHECKING:  # they import this module
    from evaluation.classifiers import FitOptions
    from evaluation.protocol import EvaluationConfig

ArmName = str
"""A key of `ARMS`."""


HEADLINE_ARM: ArmName = "real+classical+synthetic"
HEADLINE_REFERENCE: ArmName = "real+classical"
CONTROL_ARM: ArmName = "real+duplicated"
EVENED_OUT_ARM: ArmName = "evened-out"


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the arms of a cell are composed of.

    Attributes:
        subset: the real images that the cell may see.
        given_synthetic: the cell's synthetic set; None for arms that need no generator.
        num_synthetic: images of that set.
        config: how classifiers are trained.
        options: of a classifier's fit, for arms that need one to compose their images.
    """

    subset: LabelledImages
    given_synthetic: LabelledImages | None
    num_synthetic: int
    config: TrainingConfig
    options: "FitOptions"

    @property
    def synthetic(self) -> LabelledImages:
        """The cell's synthetic set.

        Raises:
            ValueError: it was not given, since the arm said that it needs no generator.
        """
        if self.given_synthetic is None:
            raise ValueError("an arm that says it needs no generator asks for synthetic images")
        return self.given_synthetic


@dataclass(frozen=True, kw_only=True)
class Arm:
    """How an arm trains, and what it is held against.

    Attributes:
        description: what people read about it.
        reference: the arm that its gain is measured over; None for the first one.
        needs_generator: whether it trains on synthetic images.
        base: the images that it starts from.
        added: the images mixed into its batches at a share that is the same in every mixed arm, if any.
        deformed: whether all images of its batches are deformed: classical augmentation.
        balance: what makes up for rare classes.
        on_request: whether a study has it only where the configuration asks for it.
    """

    description: str
    reference: ArmName | None
    needs_generator: bool
    base: Callable[[Material], LabelledImages]
    added: Callable[[Material], LabelledImages] | None = None
    deformed: bool = False
    balance: Balance = "none"
    on_request: bool = False


def _subset(material: Material) -> LabelledImages:
    return material.subset


def _synthetic(material: Material) -> LabelledImages:
    return material.synthetic


def _duplicates(material: Material) -> LabelledImages:
    """Repeat the real images to the size of the synthetic set: a control that must show no gain."""
    return material.subset.take(np.resize(np.arange(len(material.subset)), material.num_synthetic))


def _confident(material: Material) -> LabelledImages:
    from evaluation.filtering import confident_samples  # it trains classifiers

    return confident_samples(material)


def _evened_out(material: Material) -> LabelledImages:
    return evened_out(material.subset, material.synthetic, share=material.config.evened_out_share)


ARMS: dict[ArmName, Arm] = {
    "real": Arm(
        description="the labelled images as they are",
        reference=None,
        needs_generator=False,
        base=_subset,
    ),
    "real+classical": Arm(
        description="the labelled images, deformed anew in every batch: classical augmentation",
        reference="real",
        needs_generator=False,
        base=_subset,
        deformed=True,
    ),
    "real+synthetic": Arm(
        description="the labelled images, and the GAN's at a share of each batch that fades over the training and is "
        "the smaller the more labelled images there are",
        reference="real",
        needs_generator=True,
        base=_subset,
        added=_synthetic,
    ),
    HEADLINE_ARM: Arm(
        description="the labelled images, and the GAN's at the same share as in real+synthetic, deformed",
        reference=HEADLINE_REFERENCE,
        needs_generator=True,
        base=_subset,
        added=_synthetic,
        deformed=True,
    ),
    "real+classical+filtered": Arm(
        description="as real+classical+synthetic, with those of the GAN's images only whose label others believe",
        reference="real+classical",
        needs_generator=True,
        base=_subset,
        added=_confident,
        deformed=True,
        on_request=True,
    ),
    "oversampled": Arm(
        description="as real+classical, every batch drawn evenly by class, so that rare classes come as often",
        reference="real+classical",
        needs_generator=False,
        base=_subset,
        deformed=True,
        balance="batches",
        on_request=True,
    ),
    "class-weighted": Arm(
        description="as real+classical, a mistake costs more the rarer its class is",
        reference="real+classical",
        needs_generator=False,
        base=_subset,
        deformed=True,
        balance="loss",
        on_request=True,
    ),
    EVENED_OUT_ARM: Arm(
        description="as oversampled, but the GAN's images, not copies, fill every class up to the largest one's number",
        reference="oversampled",
        needs_generator=True,
        base=_evened_out,
        deformed=True,
        balance="batches",
        on_request=True,
    ),
    "synthetic": Arm(
        description="the GAN's images alone: train on synthetic, test on real (TSTR; classification accuracy score in "
        "Ravuri & Vinyals 2019, arXiv 1905.10887)",
        reference="real",
        needs_generator=True,
        base=_synthetic,
    ),
    "synthetic+classical": Arm(
        description="the GAN's images alone, deformed",
        reference="real+classical",
        needs_generator=True,
        base=_synthetic,
        deformed=True,
        on_request=True,
    ),
    CONTROL_ARM: Arm(
        description="the control: the labelled images repeated in the GAN's place, which must show no gain",
        reference="real",
        needs_generator=False,
        base=_subset,
        added=_duplicates,
    ),
}


def balancing_arms() -> tuple[ArmName, ...]:
    """Return the arms that make up for rare classes."""
    return tuple(name for name, arm in ARMS.items() if arm.balance != "none")


def default_arms() -> tuple[ArmName, ...]:
    """Return the arms that a study has unless its configuration says otherwise."""
    return tuple(name for name, arm in ARMS.items() if not arm.on_request)


def training_set(name: ArmName, material: Material) -> TrainingSet:
    """Compose the training set of an arm.

    Raises:
        UsageError: the synthetic set is too small to even the classes out.
    """
    arm = ARMS[name]
    return TrainingSet(
        base=arm.base(material),
        added=arm.added(material) if arm.added else None,
        deformation=material.config.deformation if arm.deformed else None,
        balance=arm.balance,
    )


def check_arms(config: "EvaluationConfig", *, regimes: Sequence[npt.NDArray[np.int64]], images_per_class: int) -> None:
    """Make sure that the arms for rare classes have something to do, and enough synthetic images for it.

    Args:
        regimes: the number of images of each class, (num_classes,) int64, for every regime of the study.
        images_per_class: synthetic images of each class.

    Raises:
        UsageError: every regime has the same number of images of each class, or too few synthetic images are drawn.
    """
    asked = [arm for arm in balancing_arms() if arm in config.arms]
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
