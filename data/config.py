"""Configuration of the data side of a study: which data set, how much of it."""

from typing import Literal

from pydantic import BaseModel, Field, PositiveInt, field_validator

from data.sources import DEFAULT_DATASET

ImagesPerClass = PositiveInt | Literal["all"]


class DataConfig(BaseModel, frozen=True, extra="forbid"):
    """The data set and the regimes: how many labelled images per class the study pretends to have."""

    dataset: str = DEFAULT_DATASET
    images_per_class: tuple[ImagesPerClass, ...] = Field(default=(10, 100), min_length=1)

    @field_validator("images_per_class")
    @classmethod
    def _distinct(cls, value: tuple[ImagesPerClass, ...]) -> tuple[ImagesPerClass, ...]:
        if len(set(value)) != len(value):
            raise ValueError("each number of images per class may be given once")
        return value
