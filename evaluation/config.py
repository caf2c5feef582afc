"""Configuration of what measures: classifiers and how they are trained, the instrument, the checks of the samples."""

import math
import re
from difflib import get_close_matches
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, PositiveFloat, PositiveInt, model_validator

from data.base.plugins import is_reference
from data.base.settings import Settings
from data.config import POLICIES, DeformationConfig, PolicyName

ShareOrAuto = Annotated[float, Field(gt=0, lt=1)] | Literal["auto"]
LEAST_LONGER = 2.0  # so that the arm tells in any case whether its reference was trained to its plateau
CONVNET_RATE, OTHER_RATE = 8e-3, 1e-3  # peaks of the one-cycle schedule
FEW_IMAGES, MOST_ADDED = 100, 0.5  # benchmarks/TRIALS.md, "Less of them the more real images there are"
UNLABELLED_SHARES = (0.75, 0.5)  # where added images stand for many without labels (benchmarks/TRIALS.md)


BUILT_IN = ("convnet", "resnet18", "logistic_regression", "knn")
ESTIMATOR = re.compile(r"sklearn:((?:[^\W\d]\w*\.)+[^\W\d]\w*)")  # of scikit-learn, or of a library with its interface


def _classifier_kind(kind: str) -> str:
    if kind in BUILT_IN or ESTIMATOR.fullmatch(kind) or (is_reference(kind) and not kind.startswith("sklearn:")):
        return kind
    if kind.startswith("sklearn:"):
        raise ValueError("write the estimator's whole dotted name, such as sklearn:sklearn.svm.SVC")
    close = get_close_matches(kind, BUILT_IN, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(BUILT_IN)}"
    raise ValueError(f"{hint}; or write sklearn:DOTTED.NAME, or package.module:factory for code of your own")


class ClassifierConfig(Settings):
    """The downstream classifier, the same for every arm of a cell."""

    kind: Annotated[str, AfterValidator(_classifier_kind)] = Field(
        default="convnet",
        description="convnet, resnet18, logistic_regression, knn, sklearn:DOTTED.NAME such as sklearn:sklearn.svm.SVC, "
        "or your own package.module:factory",
    )
    parameters: dict[str, JsonValue] = Field(
        default={}, description="sklearn:… and your own factory: keywords that it is called with"
    )

    steps: PositiveInt = Field(default=1800, description="networks: optimiser steps, the same in every arm")
    batch_size: int = Field(default=32, ge=2, description="networks")
    learning_rate: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description=f"networks: peak of one cycle; auto: {CONVNET_RATE:g} of convnet, {OTHER_RATE:g} of others",
    )
    weight_decay: float = Field(default=1e-2, ge=0, description="networks: AdamW")
    label_smoothing: float = Field(default=0.05, ge=0, lt=1, description="networks")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="convnet")
    width: PositiveInt = Field(default=16, description="convnet: channels of the first convolution")

    max_iterations: PositiveInt = Field(default=200, description="logistic_regression: L-BFGS iterations")
    neighbours: PositiveInt = Field(default=3, description="knn")
    deformed_copies: PositiveInt = Field(
        default=10, description="all but networks: augmented copies of each image in the classical arms"
    )

    @model_validator(mode="after")
    def _parameters_are_for_named_classifiers(self) -> Self:
        if self.parameters and self.kind in BUILT_IN:
            raise ValueError(f"parameters are for sklearn:… and code of your own; {self.kind} has keys of its own here")
        return self

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # a dictionary has no hash

    @property
    def estimator(self) -> str | None:
        """The reference `package.module:attribute` of the estimator that `sklearn:` names, or None."""
        found = ESTIMATOR.fullmatch(self.kind)
        return ":".join(found[1].rsplit(".", 1)) if found else None

    @property
    def factory(self) -> str | None:
        """The reference of the user's own factory, or None."""
        return None if self.kind in BUILT_IN or self.estimator else self.kind

    @property
    def named_code(self) -> str | None:
        """The reference of the code that somebody must allow to be loaded (`data.base.plugins`), if any."""
        if self.estimator is not None and self.estimator.startswith(("sklearn.", "sklearn:")):
            return None  # a library that is here anyway
        return self.estimator or self.factory

    @property
    def is_network(self) -> bool:
        """Whether it is a network of this project's; what the user's own code makes is not known here."""
        return self.kind in ("convnet", "resnet18")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate, with "auto" decided."""
        if self.learning_rate != "auto":
            return self.learning_rate
        return CONVNET_RATE if self.kind == "convnet" else OTHER_RATE


class FilterConfig(Settings):
    """The arm `real+classical+filtered`: synthetic images whose label an ensemble trained on the subset believes."""

    threshold: float = Field(default=0.7, gt=0, lt=1, description="least probability of the image's own label")
    members: PositiveInt = Field(default=3, description="classifiers in the ensemble")


class PseudoLabelsConfig(Settings):
    """Labels that a classifier gives to images without labels (see `evaluation.pseudo_labels`)."""

    threshold: float = Field(default=0.9, gt=0, lt=1, description="least probability of a label that is believed")
    rounds: PositiveInt = Field(default=2, description="each labels anew with the classifier trained in the last one")


class ConsistencyConfig(Settings):
    """Training on images without labels in the manner of FixMatch (see `evaluation.consistency`)."""

    ratio: PositiveInt = Field(default=2, description="images without labels for each labelled one of a batch")
    threshold: float = Field(
        default=0.9, gt=0, lt=1, description="least probability of the weak view's class that is believed"
    )
    weight: float = Field(default=1.0, gt=0, description="of the loss on images without labels")
    weak: float = Field(default=0.5, ge=0, description="weak views: so many times the ranges of the policy")
    strong: float = Field(default=1.0, ge=0, description="strong views: so many times the ranges of the policy")
    cutout: float = Field(default=0.4, ge=0, lt=1, description="side of the square cut out of strong ones, in sides")
    longer: float = Field(default=1.0, ge=1, description="steps: so many times those of the other arms")


class FeaturesConfig(Settings):
    """The measuring instrument: a ConvNet ensemble trained on real images (see `evaluation.features`)."""

    members: PositiveInt = Field(default=2, description="the first one gives the features, all of them judge labels")
    steps: PositiveInt = 500
    batch_size: int = Field(default=64, ge=2)
    images: PositiveInt = Field(
        default=10_000, description="real training images that each member sees, at most; half are held out"
    )
    width: PositiveInt = Field(default=16, description="channels of the first convolution; four times as many features")
    seed: int = Field(default=0, ge=0, description="not the study's: figures of different studies compare")


class CheckThresholds(Settings):
    """Thresholds of the named checks, fixed in advance (see `evaluation.checks`)."""

    max_constant_share: float = Field(default=0.01, ge=0, le=1)
    copy_ratio: float = Field(
        default=0.4, gt=0, lt=1, description="a copy lies nearer than this share of the class's usual nearest distance"
    )
    max_alike_probability: float = Field(
        default=0.55, gt=0.5, lt=1, description="how often a sample may resemble one image more than unseen ones do"
    )
    max_nearer_probability: float = Field(
        default=0.9, gt=0.5, lt=1, description="data-copying test: how often nearer to training than unseen real images"
    )
    max_duplicated_share: float = Field(default=0.02, ge=0, le=1, description="beyond the share among real images")
    min_density_ratio: float = Field(default=0.4, ge=0, le=1, description="density over its floor")
    min_coverage_ratio: float = Field(default=0.15, ge=0, le=1, description="coverage over its floor")
    min_class_share: float = Field(
        default=0.2, gt=0, lt=1, description="worst class: its images over those of an even share"
    )
    min_class_variety: float = Field(
        default=0.57, ge=0, le=1, description="worst class: how far its samples lie apart, over real ones"
    )
    max_label_disagreement: float = Field(
        default=0.1, ge=0, le=1, description="share of labels that are wrong, by the ensemble's judgement"
    )
    max_class_disagreement: float = Field(default=0.5, ge=0, le=1, description="worst class: the same")
    max_test_preference: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="share nearer to test than to unseen train images, beyond a half and that of real ones",
    )
    copy_significance: float = Field(
        default=0.003, gt=0, lt=1, description="level of each of the three searches for copies, below 1% together"
    )
    significance: float = Field(default=0.001, gt=0, lt=1, description="level of the other tests")
    watched: float = Field(default=0.01, gt=0, lt=1, description="level from which a search for copies is on watch")
    rejected: float = Field(default=1e-6, gt=0, lt=1, description="level below which no check passes")


class SamplesConfig(Settings):
    """How the synthetic images themselves are judged: fidelity, memorisation, label fidelity, checks."""

    max_images: int = Field(default=2000, ge=2, description="of each set; larger ones are subsampled, class by class")
    neighbours: PositiveInt = Field(default=5, description="k of precision, recall, density, coverage")
    unseen_images: int = Field(default=1000, ge=2, description="real images in which copies are looked for likewise")
    pictured: PositiveInt = Field(default=16, description="most suspicious pairs and worst labels to picture")
    features: FeaturesConfig = FeaturesConfig()
    audit: CheckThresholds = CheckThresholds()


class PolicyChoiceConfig(Settings):
    """How the policy of classical augmentation is chosen by inner validation (see `evaluation.policy_choice`)."""

    candidates: tuple[PolicyName, ...] = Field(
        default=(), description="policies to choose from; empty: those that fit grey or colour images"
    )
    folds: int = Field(default=2, ge=2, le=10, description="of the subset, at most")
    steps: PositiveInt | Literal["auto"] = Field(
        default="auto",
        description="networks: of each training in the last round, half as many in the first; auto: 200, or 20 epochs "
        "where that is more, and no more than the classifier's",
    )
    most_images: int = Field(default=2000, ge=2, description="of the subset that are divided into folds, at most")


class TrainingConfig(Settings):
    """How the classifiers of all arms are trained: what their predictions depend on beside the images."""

    classifier: ClassifierConfig = ClassifierConfig()
    policy: Literal["auto"] | PolicyName = Field(
        default="auto",
        description=f"classical augmentation: {', '.join(POLICIES)}, or package.module:attribute of your own; auto: "
        "chosen in each cell by inner validation on its subset alone",
    )
    policy_choice: PolicyChoiceConfig = PolicyChoiceConfig()
    deformation: DeformationConfig = Field(default=DeformationConfig(), description="ranges of the policy digits")
    added_share: ShareOrAuto = Field(
        default="auto",
        description=f"convnet: share of synthetic images in the first mixed batches; auto: half, or "
        f"{UNLABELLED_SHARES[0]:g} with images without labels, up to {FEW_IMAGES} images, and half of that for each "
        "four times as many",
    )
    final_added_share: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] = Field(
        default="auto",
        description="and in the last ones, on a line in between; auto: 0, so that real ones have the last word; "
        f"with images without labels {UNLABELLED_SHARES[1]:g}, falling as the first ones do",
    )
    evened_out_share: float = Field(
        default=1.0, gt=0, le=1, description="evened-out: synthetic images fill classes up to this share of a class"
    )
    filter: FilterConfig = FilterConfig()
    pseudo_labels: PseudoLabelsConfig = PseudoLabelsConfig()
    consistency: ConsistencyConfig = ConsistencyConfig()
    equal_compute: Annotated[float, Field(ge=1)] | Literal["auto"] = Field(
        default="auto",
        description="equal-compute: how many times the steps of the other arms; auto: as many operations as the "
        f"generator and its arm take, at least {LEAST_LONGER:g} times",
    )

    @property
    def own_policies(self) -> tuple[str, ...]:
        """References of code of the user's own among the policies, which somebody must allow to be loaded."""
        return tuple(name for name in (self.policy, *self.policy_choice.candidates) if is_reference(name))

    def for_subset(self, num_images: int, *, policy: str, unlabelled: bool = False) -> Self:
        """Return the configuration with "auto" decided for a subset of `num_images`; what was set stays as it is.

        Each synthetic image takes a real image's turn, and the more real images there are, the more is lost by that.
        With images without labels, those that are added tell of more than the labelled ones do.

        Args:
            policy: of classical augmentation, that the cell chose.
            unlabelled: whether the study has images without labels.
        """
        first, last = UNLABELLED_SHARES if unlabelled else (MOST_ADDED, 0.0)
        fewer = min(1.0, math.sqrt(FEW_IMAGES / num_images))
        first, last = first * fewer, last * fewer
        if self.added_share != "auto":
            last = min(last, self.added_share)
        if self.final_added_share != "auto":
            last = self.final_added_share
        decided = {"added_share": max(first, last), "final_added_share": last, "policy": policy}
        return self.model_copy(update={name: value for name, value in decided.items() if getattr(self, name) == "auto"})

    @property
    def added_shares(self) -> tuple[float, float]:
        """The share of synthetic images in the first and in the last batch of the mixed arms, once it is decided.

        Raises:
            ValueError: it is still "auto".
        """
        return float(self.added_share), float(self.final_added_share)
