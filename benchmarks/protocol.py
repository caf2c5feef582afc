"""Pieces of the protocol that benchmarks share: overrides, splits, samples, a classifier's answers."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from pydantic import BaseModel

from data.base.device import Compute
from data.base.errors import UsageError
from data.base.randomness import numpy_stream, torch_stream
from data.images import LabelledImages
from data.policies import Policy
from evaluation.classifiers import fit_classifier
from evaluation.config import ClassifierConfig
from evaluation.fitting import Classifier, FitOptions
from evaluation.metrics import accuracy
from evaluation.predictions import Predictions, predictions_on
from evaluation.training_set import TrainingSet
from gan.checkpoint import load_generator
from gan.config import GanConfig
from gan.networks import Generator, GeneratorEnsemble, initialise
from gan.sampling import class_sequence, draw_images
from gan.training import train

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
    generator: GeneratorEnsemble, *, images_per_class: int, class_names: tuple[str, ...], seed: int, compute: Compute
) -> LabelledImages:
    """Draw a class-balanced synthetic set into memory."""
    labels = class_sequence(np.full(len(class_names), images_per_class))
    images = draw_images(generator.to(compute.device), labels, rng=torch_stream(seed, "samples"), compute=compute)
    return LabelledImages(
        images=images, labels=labels, rows=np.arange(len(labels), dtype=np.int64), class_names=class_names
    )


def random_ensemble(config: GanConfig, *, image_shape: tuple[int, int, int]) -> GeneratorEnsemble:
    """Return an untrained generator of ten classes as a study on 1,000 images would have it, codes included."""
    labels, rng = torch.arange(1000) % 10, torch.Generator().manual_seed(0)
    members = [
        Generator(config, image_shape=image_shape, num_classes=10, labels=labels) for _ in range(config.snapshots)
    ]
    for member in members:
        initialise(member, config=config, rng=rng)
    return GeneratorEnsemble(members)


def trained_samples(
    subset: LabelledImages, *, config: GanConfig, images_per_class: int, seed: int, compute: Compute
) -> tuple[LabelledImages, float]:
    """Train a GAN on `subset` alone; return a class-balanced synthetic set, and the training's seconds."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        train(subset, Path(folder), config=config, seed=seed, compute=compute, on_progress=lambda _: None)
        generator, class_names = load_generator(Path(folder) / "generator.safetensors")
    seconds = time.monotonic() - started
    samples = samples_of(
        generator, images_per_class=images_per_class, class_names=class_names, seed=seed, compute=compute
    )
    return samples, seconds


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Trains a classifier and tells its answers on images that it has not seen."""

    config: ClassifierConfig
    policy: Policy | None
    added_shares: tuple[float, float]
    judged_on: LabelledImages
    seed: int
    compute: Compute

    def fit(self, base: LabelledImages, *, added: LabelledImages | None = None, classical: bool) -> Classifier:
        """Train on `base`, with `added` mixed in, and changed by the policy where `classical`."""
        return self.fit_to(TrainingSet(base=base, added=added, policy=self.policy if classical else None))

    def fit_to(self, training: TrainingSet) -> Classifier:
        """Train on an arm's training set."""
        options = FitOptions(
            config=self.config,
            added_shares=self.added_shares,
            seed=self.seed,
            compute=self.compute,
            on_progress=lambda _: None,
        )
        return fit_classifier(training, options)

    def accuracy(self, classifier: Classifier) -> float:
        """Share of right answers, in [0, 1]."""
        return accuracy(self.predictions(classifier))

    def predictions(self, classifier: Classifier) -> Predictions:
        """Return the answers."""
        return predictions_on(self.judged_on, classifier.predict_probabilities(self.judged_on.images))
