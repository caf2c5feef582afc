"""The protocol of a study: which arms are compared, how they are trained, and by what the gain is judged."""

from difflib import get_close_matches
from typing import Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from evaluation.arms import ARMS, HEADLINE_ARM, HEADLINE_REFERENCE, ArmName, default_arms
from evaluation.config import SamplesConfig, TrainingConfig


class EvaluationConfig(TrainingConfig):
    """What is trained and measured in each cell."""

    arms: tuple[ArmName, ...] = Field(default_factory=default_arms)
    classifier_seeds: PositiveInt = Field(
        default=1, description="trainings of the headline arm, its reference, and the balancing arms"
    )
    without_more_labels: tuple[str, ...] = Field(
        default=(), description="regimes whose data hold no more labelled images to try; decided where data are known"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    wished_gain: float = Field(default=0.005, gt=0, lt=1, description="the gain worth having; 0.005 is half a point")
    samples: SamplesConfig = SamplesConfig()

    def seeds_of_arms(self, regime: str) -> dict[ArmName, int]:
        """Return the arms of a cell of a regime, and how often the classifier of each is trained."""
        return {
            arm: self.classifier_seeds if ARMS[arm].every_seed else 1
            for arm in self.arms
            if ARMS[arm].role != "more labels" or regime not in self.without_more_labels
        }

    def training(self) -> TrainingConfig:
        """Return the part that the arms' predictions depend on."""
        return TrainingConfig(**{name: getattr(self, name) for name in TrainingConfig.model_fields})

    @field_validator("arms")
    @classmethod
    def _known_and_complete(cls, value: tuple[ArmName, ...]) -> tuple[ArmName, ...]:
        for name in value:
            if name not in ARMS:
                close = get_close_matches(name, ARMS, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(ARMS)}"
                raise ValueError(f"there is no arm {name!r}; {hint}")
        missing = {"real", HEADLINE_REFERENCE, HEADLINE_ARM} - set(value)
        if missing:
            raise ValueError(f"the headline needs the arms {', '.join(sorted(missing))} too")
        for name in value:
            reference = ARMS[name].reference
            if reference is not None and reference not in value:
                raise ValueError(f"the arm {name} is measured against {reference}; add that arm too")
        return tuple(name for name in ARMS if name in value)

    @model_validator(mode="after")
    def _weights_need_a_loss(self) -> Self:
        if "class-weighted" in self.arms and self.classifier.kind == "knn":
            raise ValueError("knn has no loss to weight; leave out the arm class-weighted or choose another classifier")
        return self

    @model_validator(mode="after")
    def _consistency_needs_a_network(self) -> Self:
        asked = [arm for arm in self.arms if ARMS[arm].consistent]
        if asked and not self.classifier.is_network and self.classifier.factory is None:
            raise ValueError(
                f"{self.classifier.kind} cannot be trained for consistency; leave out the arms {', '.join(asked)} or "
                "choose another classifier"
            )
        return self
