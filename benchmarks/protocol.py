"""Pieces of the protocol that benchmarks share: overrides, splits, samples, a classifier's accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from pydantic import BaseModel

from data.augmentation import DeformationConfig
from data.device import Compute
from data.errors import UsageError
from data.images import LabelledImages
from data.randomness import numpy_stream, torch_stream
from evaluation.arms import TrainingSet
from evaluation.classifiers import Classifier, FitOptions, fit_classifier
from evaluation.config import ClassifierConfig
from evaluation.metrics import accuracy
from evaluation.predictions import predictions_on
from gan.networks import Generator
from gan.sampling import class_sequence, draw_images

Split = Literal["validation", "test"]
Config = TypeVar("Config", bound=BaseModel)


def overridden(config: Config, assignments: Sequence[str]) -> Config:
    """Return `config` with `key=value` texts applied and validated; dots reach into nested models."""
    tree = config.model_dump()
    for text in assignments:
        key, separator, value = text.partition("=")
        *parents, last = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch[parent]
        if not separator or last not in branch:
            raise UsageError(f"{text!r} sets nothing; give key=value with a key of {type(config).__name__}")
        branch[last] = value
    return type(config).model_validate(tree)


def held_out(train: LabelledImages, *, without: LabelledImages, count: int, seed: int) -> LabelledImages:
    """Draw `count` validation images from the rows of `train` that are not in `without`."""
    rest = np.setdiff1d(np.arange(len(train)), without.rows)
    return train.take(numpy_stream(seed, "validation").choice(rest, count, replace=False))


def samples_of(
    generator: Generator, *, images_per_class: int, class_names: tuple[str, ...], seed: int, compute: Compute
) -> LabelledImages:
    """Draw a class-balanced synthetic set into memory."""
    labels = class_sequence(np.full(len(class_names), images_per_class))
    images = draw_images(generator, labels, rng=torch_stream(seed, "samples"), compute=compute)
    return LabelledImages(
        images=images, labels=labels, rows=np.arange(len(labels), dtype=np.int64), class_names=class_names
    )


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Trains a classifier and tells its accuracy on images that it has not seen."""

    config: ClassifierConfig
    deformation: DeformationConfig
    added_share: float
    judged_on: LabelledImages
    seed: int
    compute: Compute

    def fit(self, base: LabelledImages, *, added: LabelledImages | None = None, classical: bool) -> Classifier:
        """Train on `base`, with `added` mixed in and deformed where `classical`."""
        training = TrainingSet(base=base, added=added, deformation=self.deformation if classical else None)
        options = FitOptions(
            config=self.config,
            added_share=self.added_share,
            seed=self.seed,
            compute=self.compute,
            on_progress=lambda _: None,
        )
        return fit_classifier(training, options)

    def accuracy(self, classifier: Classifier) -> float:
        """Share of right answers, in [0, 1]."""
        probabilities = classifier.predict_probabilities(self.judged_on.images)
        return accuracy(predictions_on(self.judged_on, probabilities))
