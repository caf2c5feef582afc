"""Pieces of the protocol that benchmarks share: overrides, splits, samples, a classifier's answers."""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from pydantic import BaseModel

from data.base.device import Compute, resolve_compute
from data.base.errors import UsageError
from data.base.randomness import child_seed, numpy_stream, torch_stream
from data.images import LabelledImages
from data.policies import Policy
from data.regimes import BalancedRegime, draw_subset
from data.sources.registry import load_source
from data.unlabelled import UnlabelledImages, drawn_for_cell, rest_of_pool
from evaluation.arms import ARMS, Material, training_set
from evaluation.classifiers import fit_classifier
from evaluation.config import ClassifierConfig, TrainingConfig
from evaluation.fitting import Classifier, FitOptions
from evaluation.metrics import accuracy
from evaluation.predictions import Predictions, predictions_on
from evaluation.training_set import TrainingSet
from gan.architecture import initialise, new_generator
from gan.checkpoint import GENERATOR_FILE, load_generator
from gan.config import GanConfig
from gan.networks import GeneratorEnsemble
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
    config = config.for_subset(1000, image_shape=image_shape)
    labels, rng = torch.arange(1000) % 10, torch.Generator().manual_seed(0)
    members = [
        new_generator(config, image_shape=image_shape, num_classes=10, labels=labels) for _ in range(config.snapshots)
    ]
    for member in members:
        initialise(member, config=config, rng=rng)
    return GeneratorEnsemble(members)


def trained_generator(
    subset: LabelledImages, *, config: GanConfig, seed: int, compute: Compute
) -> tuple[GeneratorEnsemble, float]:
    """Train a GAN on `subset` alone; return its generator, on the CPU, and the training's seconds."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        train(subset, Path(folder), config=config, seed=seed, compute=compute, on_progress=lambda _: None)
        generator, _ = load_generator(Path(folder) / GENERATOR_FILE)
    return generator, time.monotonic() - started


def trained_samples(
    subset: LabelledImages, *, config: GanConfig, images_per_class: int, seed: int, compute: Compute
) -> tuple[LabelledImages, float]:
    """Train a GAN on `subset` alone; return a class-balanced synthetic set, and the training's seconds."""
    generator, seconds = trained_generator(subset, config=config, seed=seed, compute=compute)
    samples = samples_of(
        generator, images_per_class=images_per_class, class_names=subset.class_names, seed=seed, compute=compute
    )
    return samples, seconds


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a comparison of recipes draw by draw is asked (`parser_of_draws`).

    Attributes:
        per_class: labelled images of each class.
        policy: of classical augmentation.
        only: recipes; () for all.
    """

    dataset: str
    per_class: int
    policy: str
    only: tuple[str, ...]

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Asked":
        """Take it from what `parser_of_draws` parsed."""
        return cls(
            dataset=arguments.dataset,
            per_class=arguments.images_per_class,
            policy=arguments.policy,
            only=tuple(arguments.only),
        )

    def wants(self, recipe: str) -> bool:
        """Tell whether a recipe is to be measured."""
        return not self.only or recipe in self.only


Figures = Callable[[int], Iterator[tuple[str, float]]]
"""What a benchmark measures on one draw, piece by piece: a name and its figure, in % or seconds."""


def parser_of_draws(
    description: str | None, *, draws: int, first_draw: int, recipes: Sequence[str]
) -> argparse.ArgumentParser:
    """Return a parser with what every comparison of recipes draw by draw is asked: which data, draws and recipes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--images-per-class", type=int, default=10)
    parser.add_argument("--policy", default="digits", help="of classical augmentation")
    parser.add_argument("--draws", type=int, default=draws)
    parser.add_argument("--first-draw", type=int, default=first_draw)
    parser.add_argument("--workers", type=int, default=1, help="draws at a time, on one GPU too")
    parser.add_argument(
        "--only", nargs="*", default=[], choices=recipes, metavar="RECIPE", help=f"of {', '.join(recipes)}"
    )
    return parser


def by_draw(figures: Figures, *, draws: Sequence[int], workers: int) -> dict[str, list[float]]:
    """Measure draws in processes of their own, on one GPU too; print each figure as it comes.

    Args:
        figures: a function of a module, or a `functools.partial` of one; it computes with one thread.

    Returns:
        The figures by name, each in the order of the draws.
    """
    found: dict[str, list[float]] = {}
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for measured in pool.map(partial(_told, figures), draws):
            for name, figure in measured:
                found.setdefault(name, []).append(figure)
    return found


def _told(figures: Figures, draw: int) -> list[tuple[str, float]]:
    torch.set_num_threads(1)
    started = time.monotonic()
    measured = []
    for name, figure in figures(draw):
        print(f"draw {draw} after {time.monotonic() - started:.0f} s, {name}: {figure:.2f}", flush=True)
        measured.append((name, figure))
    return measured


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What one draw may learn from, and what it is judged on: train images all, never the test split.

    Attributes:
        policy: of classical augmentation.
        unlabelled: images without labels; None where there are none.
    """

    number: int
    policy: str
    subset: LabelledImages
    judged_on: LabelledImages
    unlabelled: UnlabelledImages | None

    @classmethod
    def of(cls, number: int, asked: Asked, *, judged_on: int, most_unlabelled: int = 0) -> "Draw":
        """Draw from a data set's train split; where few images are left, half of them are for judging."""
        train = load_source(asked.dataset).train
        subset = draw_subset(train, BalancedRegime(asked.per_class), rng=numpy_stream(number, "split"))
        count = min(judged_on, (len(train) - len(subset)) // 2)
        judged = held_out(train, without=subset, count=count, seed=number)
        rest = rest_of_pool(train.take(np.flatnonzero(~np.isin(train.rows, judged.rows))), subset)
        return cls(
            number=number,
            policy=asked.policy,
            subset=subset,
            judged_on=judged,
            unlabelled=drawn_for_cell(rest, most=most_unlabelled, subset=subset) if most_unlabelled else None,
        )

    def fitted(
        self,
        arm: str,
        config: TrainingConfig,
        *,
        synthetic: LabelledImages | None = None,
        num_synthetic: int = 0,
        stream: str = "classifier",
    ) -> Classifier:
        """Train an arm's classifier.

        Args:
            num_synthetic: how many images those arms make that make their own.
            stream: names the random stream of the classifier.
        """
        of_unlabelled = self.unlabelled is not None and ARMS[arm].learns_of_unlabelled
        config = config.for_subset(len(self.subset), policy=self.policy, unlabelled=of_unlabelled)
        options = FitOptions(
            config=config.classifier,
            added_shares=config.added_shares,
            seed=child_seed(self.number, stream),
            compute=resolve_compute(device="auto", precision="auto"),
            on_progress=lambda _: None,
        )
        material = Material(
            subset=self.subset,
            given_synthetic=synthetic,
            given_unlabelled=self.unlabelled,
            num_synthetic=num_synthetic if synthetic is None else len(synthetic),
            config=config,
            options=options,
        )
        return fit_classifier(training_set(arm, material), options)

    def accuracy(self, classifier: Classifier) -> float:
        """Return the share of right answers, in %."""
        answers = classifier.predict_probabilities(self.judged_on.images)
        return 100 * accuracy(predictions_on(self.judged_on, answers))


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
