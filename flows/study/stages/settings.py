"""What the configuration says about a stage, where that is no room's own configuration."""

from pydantic import BaseModel, PositiveInt

from data.config import ImagesPerClass
from evaluation.arms import ArmName
from evaluation.config import TrainingConfig


class SubsetSettings(BaseModel, frozen=True):
    """The cell's regime, as the configuration names it."""

    images_per_class: ImagesPerClass


class ArmSettings(BaseModel, frozen=True):
    """An arm, how classifiers are trained, and how large the synthetic set is."""

    arm: ArmName
    training: TrainingConfig
    synthetic_per_class: PositiveInt

    def for_subset(self, num_images: int) -> "ArmSettings":
        """Return the settings with "auto" decided for a subset of `num_images`."""
        return self.model_copy(update={"training": self.training.for_subset(num_images)})
