"""Configuration of the data side of a study: which data set, how it is read, how much of it."""

import re
from difflib import get_close_matches
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from data.base.limits import MAX_SIDE, MIN_SIDE, SIDE_STEP
from data.base.plugins import is_reference
from data.base.settings import Settings

DEFAULT_DATASET = "auto"
LONG_TAILED = re.compile(r"long-tailed:([1-9][0-9]{0,8}):([0-9]+(?:\.[0-9]+)?)")

LongTailOrder = Literal["frequency", "label"]
ImagesPerClass = int | str
"""A positive number, "all", or "long-tailed:N_MAX:RATIO"."""


GROUNDS = {"white": 255, "black": 0}


UNSPLIT = 0.0
"""`DataConfig.test_share` of images that are read as they are, without a split; no configuration can ask for it."""


class DataConfig(Settings):
    """The data set, how a user's own is read, and the regimes: how many labelled images the study pretends to have.

    Keys from `image_column` on concern data sets given by KIND:PATH, not those that have names.
    """

    dataset: str = Field(
        default=DEFAULT_DATASET,
        min_length=1,
        description="a name, or KIND:PATH with KIND folder, parquet, arrow, npz, csv, jsonl or idx",
    )
    images_per_class: Annotated[tuple[ImagesPerClass, ...], Field(min_length=1)] | Literal["auto"] = Field(
        default="auto",
        description='numbers, "all", or "long-tailed:500:100" (largest class, ratio); auto: 10 where there are '
        "ten times as many, else all",
    )
    design: Literal["auto", "fresh draws", "one data set", "given test"] = Field(
        default="auto",
        description="how replicates come about: fresh draws from a pool, folds of one data set, or all images and the "
        "given test split each time; auto: fresh draws where the pool holds ten times a subset, else folds",
    )
    folds: Annotated[int, Field(ge=2, le=20)] | Literal["auto"] = Field(
        default="auto", description="one data set: K; auto: 4, or as many as the rarest class has images"
    )
    judge_on: Literal["test", "validation"] = Field(
        default="test", description="validation: on train images kept apart, for choices that the test must not see"
    )
    validation_images: int = Field(default=5000, ge=1, description="kept apart where judge_on is validation")
    long_tail_order: LongTailOrder = Field(
        default="frequency",
        description="which classes are rare in a long tail: the ones with fewest images (ties: the later label), or "
        "the later labels",
    )
    unlabelled: str = Field(
        default="",
        description='images without labels: a data set as data.dataset takes it (labels are not read), or "pool", the '
        "rest of the pool of fresh draws; empty: none",
    )
    max_unlabelled: int = Field(default=5000, ge=1, description="of them for a cell, at most, drawn for each cell")
    image_column: str = Field(default="image", min_length=1, description="tables: column of the images")
    label_column: str = Field(default="label", min_length=1, description="tables: column of the labels")
    group_column: str = Field(
        default="",
        description="tables, npz: column of what images belong to, such as a patient; a group is never "
        "divided between train and test",
    )
    split_column: str = Field(
        default="",
        description="tables: column that says which split a row belongs to, by words such as train, test",
    )
    image_folder: str = Field(
        default="",
        description="tables: folder of the files that a table names; none outside it is opened; empty: "
        "of CSV and JSON Lines the table's own folder",
    )
    group_level: int = Field(
        default=0, ge=0, le=8, description="folder: which level of folders inside a class names the group; 0: none"
    )
    test: str = Field(default="", description="path of the test images, of the same kind as the data set")
    test_split: Literal["use", "ignore"] = Field(
        default="use", description="ignore: leave the test split out (it may have no labels) and hold a share out"
    )
    validation: Literal["test-if-missing", "train", "ignore"] = Field(
        default="test-if-missing", description="what a validation split is for, besides being left out"
    )
    test_share: float = Field(default=0.2, gt=0, lt=1, description="held out where the data set has no test split")
    test_seed: int = Field(default=0, ge=0, description="draws the test split that is held out")
    bad_images: Literal["refuse", "leave-out"] = Field(
        default="refuse", description="images that cannot be read, and rows without a label"
    )
    resize: int = Field(
        default=0,
        ge=0,
        le=MAX_SIDE,
        multiple_of=SIDE_STEP,
        description="side in pixels that all images get, needed where sizes differ; 0: none",
    )
    colour: Literal["auto", "gray", "rgb"] = Field(
        default="auto", description="auto: RGB where any image has colour, grayscale elsewhere"
    )
    alpha_ground: int | str = Field(
        default="white", description="what transparent images are laid on: white, black or a grey level"
    )
    bits: int | str = Field(
        default="auto",
        description="bits a value, for all images alike; auto: 8-bit images as they are, deeper ones by the fewest of "
        "1, 8, 10, 12, 14, 16, 24 or 32 that hold the largest value of all",
    )

    @field_validator("resize")
    @classmethod
    def _size_of_networks(cls, value: int) -> int:
        if 0 < value < MIN_SIDE:
            raise ValueError(f"networks take sides from {MIN_SIDE} to {MAX_SIDE}")
        return value

    @property
    def ground(self) -> int:
        """Grey level that transparent images are laid on."""
        return self.alpha_ground if isinstance(self.alpha_ground, int) else GROUNDS[self.alpha_ground]

    @field_validator("alpha_ground")
    @classmethod
    def _known_ground(cls, value: int | str) -> int | str:
        if value not in GROUNDS and not (isinstance(value, int) and 0 <= value <= 255):
            raise ValueError("give white, black or a grey level from 0 to 255")
        return value

    @field_validator("bits")
    @classmethod
    def _known_bits(cls, value: int | str) -> int | str:
        if value != "auto" and not (isinstance(value, int) and 1 <= value <= 32):
            raise ValueError("give auto or a number from 1 to 32")
        return value

    @model_validator(mode="after")
    def _tested_is_said_once(self) -> Self:
        if self.split_column and self.test:
            raise ValueError("split_column and test both say what is tested on; give one of them")
        return self

    @field_validator("images_per_class", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = [value]
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


POLICIES = {
    "none": "images as they are",
    "digits": "small rotations, shifts, zooms, shear and an elastic field, for digits and other glyphs",
    "natural": "mirror images, shifts, and small changes of brightness, contrast and saturation, for photographs",
    "medical": "small rotations, shifts, zooms, changes of brightness and contrast, for X-rays and the like",
    "trivial-augment": "one of 14 changes at a random strength, torchvision's TrivialAugmentWide (arXiv 2103.10158)",
}
"""Policies of classical augmentation by name, and what each does to an image (`data.policies`)."""


def _known_policy(value: str) -> str:
    if value not in POLICIES and not is_reference(value):
        close = get_close_matches(value, POLICIES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(POLICIES)}."
        raise ValueError(f"there is no augmentation policy {value!r}; {hint} Your own is package.module:attribute")
    return value


PolicyName = Annotated[str, AfterValidator(_known_policy)]
"""A key of `POLICIES`, or a reference to code of the user's own, `package.module:attribute`."""


class DeformationConfig(Settings):
    """Ranges of the random affine and elastic deformation; every image draws its own."""

    rotation_degrees: float = Field(default=12.0, ge=0, le=180)
    translation: float = Field(default=0.08, ge=0, le=0.5, description="share of the image's side")
    scale: float = Field(default=0.12, ge=0, lt=1, description="zoom within exp(-scale) .. exp(scale)")
    shear: float = Field(default=0.2, ge=0, lt=1)
    elastic: float = Field(default=0.06, ge=0, le=0.5, description="standard deviation, share of the image's side")
    elastic_grid: int = Field(default=4, ge=2, le=16, description="control points per side of the displacement field")


class ToneConfig(Settings):
    """Ranges of random changes of tone: factors from 1 - range to 1 + range; every image draws its own."""

    brightness: float = Field(default=0.0, ge=0, le=1)
    contrast: float = Field(default=0.0, ge=0, le=1, description="of differences from the image's mean grey")
    saturation: float = Field(default=0.0, ge=0, le=1, description="of differences from a pixel's grey; colour images")
