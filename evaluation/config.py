"""Configuration of the measurement: which arms, which classifier, how strong the classical augmentation."""

from typing import Literal

from pydantic import BaseModel, Field, PositiveInt, field_validator

from data.augmentation import DeformationConfig

ArmName = Literal[
    "real", "real+classical", "real+synthetic", "real+classical+synthetic", "synthetic", "real+duplicated"
]
ARM_NAMES: tuple[ArmName, ...] = (
    "real",
    "real+classical",
    "real+synthetic",
    "real+classical+synthetic",
    "synthetic",
    "real+duplicated",
)


class ClassifierConfig(BaseModel, frozen=True, extra="forbid"):
    """The downstream classifier, the same for every arm of a cell."""

    kind: Literal["convnet", "logistic_regression", "knn"] = "convnet"

    steps: PositiveInt = Field(default=1200, description="convnet: optimiser steps, the same in every arm")
    batch_size: int = Field(default=32, ge=2, description="convnet")
    learning_rate: float = Field(default=4e-3, gt=0, description="convnet: peak of the one-cycle schedule")
    weight_decay: float = Field(default=1e-2, ge=0, description="convnet: AdamW")
    label_smoothing: float = Field(default=0.05, ge=0, lt=1, description="convnet")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="convnet")
    width: PositiveInt = Field(default=16, description="convnet: channels of the first convolution")

    max_iterations: PositiveInt = Field(default=200, description="logistic_regression: L-BFGS iterations")
    neighbours: PositiveInt = Field(default=3, description="knn")
    deformed_copies: PositiveInt = Field(
        default=10, description="logistic_regression, knn: deformed copies of each image in the classical arms"
    )


class EvaluationConfig(BaseModel, frozen=True, extra="forbid"):
    """What is trained and measured in each cell."""

    arms: tuple[ArmName, ...] = ARM_NAMES
    classifier: ClassifierConfig = ClassifierConfig()
    deformation: DeformationConfig = DeformationConfig()
    added_share: float = Field(default=0.5, gt=0, lt=1, description="share of synthetic images in a mixed batch")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)

    @field_validator("arms")
    @classmethod
    def _complete_pairs(cls, value: tuple[ArmName, ...]) -> tuple[ArmName, ...]:
        missing = {"real", "real+classical", "real+classical+synthetic"} - set(value)
        if missing:
            raise ValueError(f"the headline needs the arms {', '.join(sorted(missing))} too")
        return tuple(arm for arm in ARM_NAMES if arm in value)
