"""Arms: the sets of training images whose classifiers a cell compares."""

from dataclasses import dataclass

import numpy as np

from data.augmentation import DeformationConfig
from data.images import LabelledImages
from evaluation.config import ArmName

HEADLINE_ARM: ArmName = "real+classical+synthetic"
HEADLINE_REFERENCE: ArmName = "real+classical"
REFERENCE_ARMS: dict[ArmName, ArmName | None] = {
    "real": None,
    "real+classical": "real",
    "real+synthetic": "real",
    HEADLINE_ARM: HEADLINE_REFERENCE,
    "real+classical+filtered": "real+classical",
    "synthetic": "real",
    "real+duplicated": "real",
}
FILTERED_ARM: ArmName = "real+classical+filtered"


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """What a classifier trains on.

    Attributes:
        base: the images that the arm starts from.
        added: images mixed into every batch at a fixed share, or None.
        deformation: the classical augmentation, applied to all images of a batch alike, or None.
    """

    base: LabelledImages
    added: LabelledImages | None
    deformation: DeformationConfig | None


def training_set(
    arm: ArmName, *, subset: LabelledImages, synthetic: LabelledImages, deformation: DeformationConfig
) -> TrainingSet:
    """Compose the training set of `arm`.

    `synthetic` alone is "train on synthetic, test on real" (TSTR; classification accuracy score in Ravuri & Vinyals
    2019, arXiv 1905.10887). `real+duplicated` repeats the real images to the size of the synthetic set: a control
    that must show no gain. For `real+classical+filtered` the caller passes what `evaluation.filtering` let through.
    """
    added = None
    if arm in ("real+synthetic", "real+classical+synthetic", FILTERED_ARM):
        added = synthetic
    elif arm == "real+duplicated":
        added = subset.take(np.resize(np.arange(len(subset)), len(synthetic)))
    return TrainingSet(
        base=synthetic if arm == "synthetic" else subset,
        added=added,
        deformation=deformation if arm in ("real+classical", "real+classical+synthetic", FILTERED_ARM) else None,
    )
