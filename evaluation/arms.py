"""Arms: the sets of training images whose classifiers a cell compares, one entry of `ARMS` for each.

A new arm is one entry: what it starts from, what is mixed into its batches, and what it is held against.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from data.base.errors import UsageError
from data.base.randomness import child_seed, numpy_stream, torch_stream
from data.images import LabelledImages, joined
from data.unlabelled import UnlabelledImages
from evaluation.config import TrainingConfig
from evaluation.training_set import Balance, Consistency, TrainingSet

if TYPE_CHECKING:  # they import this module, or torch
    from data.policies import Policy
    from evaluation.fitting import FitOptions
    from evaluation.protocol import EvaluationConfig

ArmName = str
"""A key of `ARMS`."""

Role = Literal["without generator", "with generator", "control", "more labels"]

HEADLINE_ARM: ArmName = "real+classical+synthetic"
HEADLINE_REFERENCE: ArmName = "real+classical"
EQUAL_COMPUTE_ARM: ArmName = "equal-compute"
CONTROL_ARM: ArmName = "deformed-copies"
BASELINE_ARMS: dict[ArmName, str] = {f"real+classical+{name}": name for name in ("pca-mixture", "interpolation")}
"""Arms that train on the images of a cheap generator of `evaluation.baselines`, and which one."""
SELF_TRAINED_ARM: ArmName = "pseudo-labels"
CONSISTENT_ARM: ArmName = "fixmatch"
EVENED_OUT_ARM: ArmName = "evened-out"
MORE_LABELS: dict[ArmName, float] = {"labels-x1.25": 1.25, "labels-x1.5": 1.5, "labels-x2": 2.0}
"""Arms of the reference's classifier on more labelled images, and how many times as many."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the arms of a cell are composed of.

    Attributes:
        subset: the real images that the cell may see.
        given_synthetic: the cell's synthetic set; None for arms that need no generator.
        given_pool: what the subset was drawn from; None for arms that see no more than the subset.
        given_unlabelled: images without labels; None for arms that see none.
        num_synthetic: images of the synthetic set.
        config: how classifiers are trained, with "auto" decided.
        options: of a classifier's fit, for arms that need one to compose their images.
    """

    subset: LabelledImages
    given_synthetic: LabelledImages | None
    given_pool: LabelledImages | None = None
    given_unlabelled: UnlabelledImages | None = None
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

    @property
    def pool(self) -> LabelledImages:
        """What the subset was drawn from.

        Raises:
            ValueError: it was not given, since the arm said that it sees no more than the subset.
        """
        if self.given_pool is None:
            raise ValueError("an arm that says it sees the subset alone asks for the pool")
        return self.given_pool

    def policy(self) -> "Policy | None":
        """Return the policy of classical augmentation, which every augmented arm of the cell shares.

        Raises:
            UsageError: it is the user's own, and cannot be loaded.
        """
        from data.policies import policy_of  # it imports torch

        return policy_of(self.config.policy, digits=self.config.deformation)

    @property
    def unlabelled(self) -> UnlabelledImages:
        """The images without labels.

        Raises:
            ValueError: they were not given, since the arm said that it sees none.
        """
        if self.given_unlabelled is None:
            raise ValueError("an arm that says it sees labelled images alone asks for others")
        return self.given_unlabelled


@dataclass(frozen=True, kw_only=True)
class Arm:
    """How an arm trains, and what it is held against.

    Attributes:
        description: what people read about it.
        reference: the arm that its gain is measured over; None for the first one.
        role: "without generator": what the headline arm must beat to help; "with generator": trains on synthetic
            images; "control": must show no gain; "more labels": sees more of the pool than the subset.
        base: the images that it starts from.
        added: the images mixed into its batches at a share that is the same in every mixed arm, if any.
        augmented: whether the policy of classical augmentation changes all images of its batches.
        balance: what makes up for rare classes.
        equal_compute: whether it trains for as long as a generator and a classifier take together.
        needs_unlabelled: whether it sees images without labels; such arms are for studies that have some.
        consistent: whether it is also trained to answer alike on those, however they are changed.
        every_seed: whether it is trained once for each of the study's classifier seeds, or once only: arms that are far
            from the headline arm, or dear, need no second one.
        on_request: whether a study has it only where the configuration asks for it.
    """

    description: str
    reference: ArmName | None
    role: Role
    base: Callable[[Material], LabelledImages]
    added: Callable[[Material], LabelledImages] | None = None
    augmented: bool = False
    balance: Balance = "none"
    equal_compute: bool = False
    needs_unlabelled: bool = False
    consistent: bool = False
    every_seed: bool = False
    on_request: bool = False

    @property
    def needs_generator(self) -> bool:
        """Whether it trains on synthetic images."""
        return self.role == "with generator"

    @property
    def learns_of_unlabelled(self) -> bool:
        """Whether images without labels, or what a GAN made that learnt from them, are among its own."""
        return self.needs_generator or self.needs_unlabelled


def _subset(material: Material) -> LabelledImages:
    return material.subset


def _synthetic(material: Material) -> LabelledImages:
    return material.synthetic


def _deformed_copies(material: Material) -> LabelledImages:
    """Augment real images once and for all, as many as there are synthetic ones: a control that must show no gain."""
    copies = material.subset.take(np.resize(np.arange(len(material.subset)), material.num_synthetic))
    policy = material.policy()
    if policy is None:
        return copies
    from data.policies import augmented

    rng = torch_stream(material.options.seed, "deformed copies")
    return replace(copies, images=augmented(copies.images, policy=policy, rng=rng))


def _more_labels(factor: float) -> Callable[[Material], LabelledImages]:
    """Return what adds images of the pool to the subset, `factor` times as many of each class in all.

    What a larger factor adds holds what a smaller one adds.
    """

    def base(material: Material) -> LabelledImages:
        pool, subset = material.pool, material.subset
        rng = numpy_stream(0, "more labels", subset.digest())  # the same for every factor
        chosen = np.isin(pool.rows, subset.rows)
        for label, count in enumerate(subset.class_counts()):
            others = rng.permutation(np.flatnonzero((pool.labels == label) & ~chosen))
            chosen[others[: round((factor - 1) * int(count))]] = True
        return pool.take(np.flatnonzero(chosen))

    return base


def _confident(material: Material) -> LabelledImages:
    from evaluation.filtering import confident_samples  # it trains classifiers

    return confident_samples(
        material.synthetic,
        training_set(HEADLINE_REFERENCE, material),
        config=material.config.filter,
        options=material.options,
    )


def _made_by(baseline: str) -> Callable[[Material], LabelledImages]:
    """Return what makes as many images as there are synthetic ones, the same for all seeds of a cell's classifiers."""

    def added(material: Material) -> LabelledImages:
        from evaluation.baselines import BASELINES

        subset = material.subset
        images, labels = BASELINES[baseline](
            subset.images,
            subset.labels,
            -(-material.num_synthetic // subset.num_classes),
            child_seed(0, baseline, subset.digest()),
        )
        rows = np.arange(len(labels), dtype=np.int64)
        return LabelledImages(images=images, labels=labels, rows=rows, class_names=subset.class_names)

    return added


def _self_labelled(material: Material) -> LabelledImages:
    from evaluation.pseudo_labels import self_trained  # it trains classifiers

    return self_trained(
        material.unlabelled,
        training_set(HEADLINE_REFERENCE, material),
        config=material.config.pseudo_labels,
        options=material.options,
    )


def _evened_out(material: Material) -> LabelledImages:
    return evened_out(material.subset, material.synthetic, share=material.config.evened_out_share)


ARMS: dict[ArmName, Arm] = {
    "real": Arm(
        description="the labelled images as they are",
        reference=None,
        role="without generator",
        base=_subset,
    ),
    HEADLINE_REFERENCE: Arm(
        description="the labelled images, changed differently in every batch by the policy of classical augmentation",
        reference="real",
        role="without generator",
        base=_subset,
        augmented=True,
        every_seed=True,
    ),
    EQUAL_COMPUTE_ARM: Arm(
        description="as real+classical, trained for as many operations as the GAN and its arm take together",
        reference=HEADLINE_REFERENCE,
        role="without generator",
        base=_subset,
        augmented=True,
        equal_compute=True,
    ),
    HEADLINE_ARM: Arm(
        description="the labelled images, and the GAN's at a share of each batch that falls over the training and is "
        "the smaller the more labelled images there are, all augmented classically",
        reference=HEADLINE_REFERENCE,
        role="with generator",
        base=_subset,
        added=_synthetic,
        augmented=True,
        every_seed=True,
    ),
    "real+synthetic": Arm(
        description="as real+classical+synthetic, without classical augmentation",
        reference="real",
        role="with generator",
        base=_subset,
        added=_synthetic,
        on_request=True,
    ),
    "real+classical+filtered": Arm(
        description="as real+classical+synthetic, with those of the GAN's images only whose label others believe",
        reference=HEADLINE_REFERENCE,
        role="with generator",
        base=_subset,
        added=_confident,
        augmented=True,
        on_request=True,
    ),
    "oversampled": Arm(
        description="as real+classical, every batch drawn evenly by class, so that rare classes come as often",
        reference=HEADLINE_REFERENCE,
        role="without generator",
        base=_subset,
        augmented=True,
        balance="batches",
        every_seed=True,
        on_request=True,
    ),
    "class-weighted": Arm(
        description="as real+classical, a mistake costs more the rarer its class is",
        reference=HEADLINE_REFERENCE,
        role="without generator",
        base=_subset,
        augmented=True,
        balance="loss",
        every_seed=True,
        on_request=True,
    ),
    EVENED_OUT_ARM: Arm(
        description="as oversampled, but the GAN's images, not copies, fill every class up to the largest one's number",
        reference="oversampled",
        role="with generator",
        base=_evened_out,
        augmented=True,
        balance="batches",
        every_seed=True,
        on_request=True,
    ),
    SELF_TRAINED_ARM: Arm(
        description="as real+classical, and the images without labels of which a classifier of the labelled ones is "
        "sure, so labelled, at a share of each batch that falls over the training (self-training, Lee 2013)",
        reference=HEADLINE_REFERENCE,
        role="without generator",
        base=_subset,
        added=_self_labelled,
        augmented=True,
        needs_unlabelled=True,
        every_seed=True,
        on_request=True,
    ),
    CONSISTENT_ARM: Arm(
        description="as real+classical, and trained to label images without labels alike, however they are changed "
        "(consistency training in the manner of FixMatch, arXiv 2001.07685)",
        reference=HEADLINE_REFERENCE,
        role="without generator",
        base=_subset,
        augmented=True,
        needs_unlabelled=True,
        consistent=True,
        every_seed=True,
        on_request=True,
    ),
    "fixmatch+synthetic": Arm(
        description="as fixmatch, and the GAN's images among the labelled ones, at the share of the other mixed arms",
        reference=CONSISTENT_ARM,
        role="with generator",
        base=_subset,
        added=_synthetic,
        augmented=True,
        needs_unlabelled=True,
        consistent=True,
        every_seed=True,
        on_request=True,
    ),
    "synthetic": Arm(
        description="the GAN's images alone: train on synthetic, test on real (TSTR; classification accuracy score in "
        "Ravuri & Vinyals 2019, arXiv 1905.10887)",
        reference="real",
        role="with generator",
        base=_synthetic,
    ),
    "synthetic+classical": Arm(
        description="the GAN's images alone, augmented classically",
        reference=HEADLINE_REFERENCE,
        role="with generator",
        base=_synthetic,
        augmented=True,
        on_request=True,
    ),
    CONTROL_ARM: Arm(
        description="the control: classically augmented copies of the labelled images in the GAN's place, mixed in at "
        "the same share; they hold nothing new and must not help",
        reference=HEADLINE_REFERENCE,
        role="control",
        base=_subset,
        added=_deformed_copies,
        augmented=True,
    ),
    **{
        name: Arm(
            description=f"as real+classical+synthetic, with images of the cheap generator {baseline} instead, which "
            "the study's generator must beat",
            reference=HEADLINE_REFERENCE,
            role="without generator",
            base=_subset,
            added=_made_by(baseline),
            augmented=True,
            every_seed=True,
            on_request=True,
        )
        for name, baseline in BASELINE_ARMS.items()
    },
} | {
    name: Arm(
        description=f"as real+classical, with {factor:g} times as many labelled images: what more labels are worth"
        + (", and the control that must help" if factor == max(MORE_LABELS.values()) else ""),
        reference=HEADLINE_REFERENCE,
        role="more labels",
        base=_more_labels(factor),
        augmented=True,
    )
    for name, factor in MORE_LABELS.items()
}


def balancing_arms() -> tuple[ArmName, ...]:
    """Return the arms that make up for rare classes."""
    return tuple(name for name, arm in ARMS.items() if arm.balance != "none")


def unlabelled_arms(*, with_networks: bool) -> tuple[ArmName, ...]:
    """Return the arms of images without labels that every study with such images has: all that can be trained.

    A generator that has seen them only helps where it beats what they give without one.

    Args:
        with_networks: whether classifiers are networks; others cannot be trained for consistency.
    """
    return tuple(name for name, arm in ARMS.items() if arm.needs_unlabelled and (with_networks or not arm.consistent))


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
        policy=material.policy() if arm.augmented else None,
        balance=arm.balance,
        consistency=Consistency(images=material.unlabelled, config=material.config.consistency)
        if arm.consistent
        else None,
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
    together = joined(subset, filling)
    lacking = subset.class_counts().max() - together.class_counts()
    repeats = [np.resize(np.flatnonzero(subset.labels == label), count) for label, count in enumerate(lacking) if count]
    return joined(together, subset.take(np.concatenate(repeats))) if repeats else together


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
