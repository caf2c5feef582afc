"""What fitting a classifier takes and gives, whichever kind it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data.base.device import Compute
from data.base.randomness import GlobalRandomness, child_seed
from evaluation.config import ClassifierConfig

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ClassifierProgress:
    """What a training tells while it runs."""

    step: int
    num_steps: int
    loss: float
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What fitting needs besides images: fixed by the study, the same for all arms of a cell.

    Attributes:
        added_shares: share of an arm's added images in the first and in the last batch of its training.
    """

    config: ClassifierConfig
    added_shares: tuple[float, float]
    seed: int
    compute: Compute
    on_progress: Callable[[ClassifierProgress], None]

    def global_randomness(self) -> GlobalRandomness:
        """Return a stream of this fit's own for code that draws from the global generators."""
        return GlobalRandomness(child_seed(self.seed, "named classifier"), device=self.compute.device)


class Classifier(Protocol):
    """A fitted classifier."""

    def predict_probabilities(self, images: npt.NDArray[np.uint8]) -> Probabilities:
        """Map (N, C, H, W) uint8 images to class probabilities (N, num_classes) float32."""
