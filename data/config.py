"""Configuration of the data side of a study: which data set, how it is read, how much of it."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator

from data.base.limits import MAX_SIDE, MIN_SIDE, SIDE_STEP

DEFAULT_DATASET = "auto"
LONG_TAILED = re.compile(r"long-tailed:([1-9][0-9]{0,8}):([0-9]+(?:\.[0-9]+)?)")

ImagesPerClass = int | str
"""A positive number, "all", or "long-tailed:N_MAX:RATIO"."""


class DataConfig(BaseModel, frozen=True, extra="forbid"):
    """The data set and the regimes: how many labelled images per class the study pretends to have."""

    dataset: str = Field(default=DEFAULT_DATASET, min_length=1, description="a name, parquet:PATH or folder:PATH")
    images_per_class: Annotated[tuple[ImagesPerClass, ...], Field(min_length=1)] | Literal["auto"] = Field(
        default="auto",
        description='numbers, "all", or "long-tailed:500:100" (largest class, ratio); auto: 10 and 100 where there are '
        "ten times as many, else all",
    )
    design: Literal["auto", "fresh draws", "one data set"] = Field(
        default="auto",
        description="how replicates come about: fresh draws from a pool, or folds of one data set; auto: fresh draws "
        "where the pool holds ten times a subset, else folds",
    )
    folds: Annotated[int, Field(ge=2, le=20)] | Literal["auto"] = Field(
        default="auto", description="one data set: K; auto: 5, or as many as the rarest class has images"
    )
    judge_on: Literal["test", "validation"] = Field(
        default="test", description="validation: on train images kept apart, for choices that the test must not see"
    )
    validation_images: int = Field(default=5000, ge=1, description="kept apart where judge_on is validation")
    image_column: str = Field(default="image", min_length=1, description="parquet: column of the images")
    label_column: str = Field(default="label", min_length=1, description="parquet: column of the labels")
    resize: int = Field(
        default=0,
        ge=0,
        le=MAX_SIDE,
        multiple_of=SIDE_STEP,
        description="parquet, folder: side in pixels that all images get, needed where sizes differ; 0: none",
    )
    test_share: float = Field(default=0.2, gt=0, lt=1, description="held out where the data set has no test split")
    test_seed: int = Field(default=0, ge=0, description="draws the test split that is held out")

    @field_validator("resize")
    @classmethod
    def _size_of_networks(cls, value: int) -> int:
        if 0 < value < MIN_SIDE:
            raise ValueError(f"networks take sides from {MIN_SIDE} to {MAX_SIDE}")
        return value

    @field_validator("images_per_class", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        if isinstance(value, str) and value != "auto":
            value = [part.strip() for part in value.split(",")]
        if isinstance(value, list | tuple) and list(value) == ["auto"]:
            return "auto"
        if not isinstance(value, list | tuple):
            return value
        return tuple(int(item) if isinstance(item, str) and item.strip().isdecimal() else item for item in value)

    @field_validator("images_per_class")
    @classmethod
    def _known_and_distinct(
        cls, value: tuple[ImagesPerClass, ...] | Literal["auto"]
    ) -> tuple[ImagesPerClass, ...] | Literal["auto"]:
        if value == "auto":
            return value
        for item in value:
            if isinstance(item, int) and item < 1:
                raise ValueError(f"{item} images per class are asked for; ask for 1 or more, or 'all'")
            if isinstance(item, str) and item != "all":
                match = LONG_TAILED.fullmatch(item)
                if match is None or float(match[2]) < 1:
                    raise ValueError(
                        f"{item!r} is neither a number, 'all', nor 'long-tailed:N:RATIO' with a ratio >= 1"
                    )
        if len(set(value)) != len(value):
            raise ValueError("each number of images per class may be given once")
        return value


class DeformationConfig(BaseModel, frozen=True, extra="forbid"):
    """Ranges of the random affine and elastic deformation; every image draws its own."""

    rotation_degrees: float = Field(default=12.0, ge=0, le=180)
    translation: float = Field(default=0.08, ge=0, le=0.5, description="share of the image's side")
    scale: float = Field(default=0.12, ge=0, lt=1, description="zoom within exp(-scale) .. exp(scale)")
    shear: float = Field(default=0.2, ge=0, lt=1)
    elastic: float = Field(default=0.06, ge=0, le=0.5, description="standard deviation, share of the image's side")
    elastic_grid: int = Field(default=4, ge=2, le=16, description="control points per side of the displacement field")
