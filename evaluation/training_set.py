"""What a classifier trains on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from data.images import LabelledImages
from data.unlabelled import UnlabelledImages
from evaluation.config import ConsistencyConfig

if TYPE_CHECKING:  # it imports torch, and arms are named by commands that compute nothing
    from data.policies import Policy

Balance = Literal["none", "batches", "loss"]


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """Images on which a network is also trained to answer alike, however they are deformed; see
    `evaluation.consistency`."""

    images: UnlabelledImages
    config: ConsistencyConfig


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """What a classifier trains on.

    Attributes:
        base: the images that the arm starts from.
        added: images mixed into the batches at a share that is the same in every arm, or None.
        policy: the classical augmentation, for base and added images alike, or None.
        balance: what makes up for rare classes: nothing, batches drawn evenly by class, or a loss weighted by inverse
            class frequency.
        consistency: images without labels that are trained on too, and how, or None.
    """

    base: LabelledImages
    added: LabelledImages | None
    policy: "Policy | None"
    balance: Balance = "none"
    consistency: Consistency | None = None


def evened_rows(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return positions (M,) int64 that hold every class of `labels` as often as the most frequent one."""
    classes, counts = np.unique(labels, return_counts=True)
    return np.concatenate([np.resize(np.flatnonzero(labels == label), counts.max()) for label in classes])
