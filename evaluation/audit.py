"""The audit of the audit: plant generators that cheat or fail, and see whether the checks name each of them.

Each planted generator must be flagged by the check meant for it; the honest one, by none. As an honest generator
serve real train images, lightly deformed, that neither its subset nor the unseen images hold.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from data.augmentation import deform
from data.base.errors import UsageError
from data.base.randomness import child_seed, numpy_stream, torch_stream
from data.config import DeformationConfig
from data.images import LabelledImages
from data.sources.registry import Source
from data.tensors import to_pixels, to_unit_range
from evaluation.checks import Check, CheckName
from evaluation.config import SamplesConfig
from evaluation.features import FeatureNetwork
from evaluation.samples import RealData, evaluate_samples

LIGHT_DEFORMATION = DeformationConfig(rotation_degrees=3, translation=0.02, scale=0.03, shear=0.05, elastic=0.015)
NOISE_LEVELS = 4.0  # standard deviation, of 255 grey levels
WRONG_SHARE = 0.2
SUBSET_PER_CLASS = 100  # at most, as is the next one
SAMPLES_PER_CLASS = 200
LEAST_PER_CLASS = 10
HONEST = "honest"


class AuditTrial(BaseModel, frozen=True, extra="forbid"):
    """One generator before the checks.

    Attributes:
        expected: the check that must flag it; None for an honest one, which none may flag.
    """

    generator: str
    expected: CheckName | None
    checks: tuple[Check, ...]

    @property
    def flagged_by(self) -> tuple[CheckName, ...]:
        """The checks that it failed."""
        return tuple(check.name for check in self.checks if check.passed is False)

    @property
    def as_expected(self) -> bool:
        """Whether the cheat was caught, or the honest one let through."""
        return self.expected in self.flagged_by if self.expected else not self.flagged_by


class AuditReport(BaseModel, frozen=True, extra="forbid"):
    """What the checks said about each planted generator."""

    dataset: str
    seed: int
    features: str
    num_training: int
    num_samples: int
    elapsed_seconds: float
    trials: tuple[AuditTrial, ...]

    @property
    def passed(self) -> bool:
        """Whether every cheat was caught and every honest generator let through."""
        return all(trial.as_expected for trial in self.trials)


@dataclass(frozen=True, kw_only=True)
class GivenSamples:
    """A real generator's samples to put before the same checks, as an honest one's."""

    name: str
    synthetic: LabelledImages
    subset: LabelledImages


@dataclass(frozen=True, kw_only=True)
class AuditProgress:
    """Which generator is being judged."""

    done: int
    total: int
    generator: str


@dataclass(frozen=True, kw_only=True)
class _Plant:
    generator: str
    expected: CheckName | None
    samples: LabelledImages


def run_audit(
    source: Source,
    *,
    network: FeatureNetwork,
    config: SamplesConfig,
    seed: int,
    on_progress: Callable[[AuditProgress], None],
    given: GivenSamples | None = None,
) -> AuditReport:
    """Put every planted generator, and `given` samples where there are some, before the checks.

    Raises:
        UsageError: too few images per class to divide, or given samples that do not fit the data set.
    """
    started = time.monotonic()
    real, held_out = divide(source, seed=seed)
    plants = planted_generators(real, held_out, seed=seed)
    total = len(plants) + (given is not None)
    trials: list[AuditTrial] = []
    for plant in plants:
        on_progress(AuditProgress(done=len(trials), total=total, generator=plant.generator))
        evaluation = evaluate_samples(
            plant.samples, real=real, network=network, config=config, seed=child_seed(seed, "audit", plant.generator)
        )
        trials.append(AuditTrial(generator=plant.generator, expected=plant.expected, checks=evaluation.checks))
    if given is not None:
        on_progress(AuditProgress(done=len(trials), total=total, generator=given.name))
        whole = RealData(subset=given.subset, train=source.train, test=source.test)
        evaluation = evaluate_samples(
            given.synthetic, real=whole, network=network, config=config, seed=child_seed(seed, "audit", "given")
        )
        trials.append(AuditTrial(generator=given.name, expected=None, checks=evaluation.checks))
    return AuditReport(
        dataset=source.name,
        seed=seed,
        features=network.digest,
        num_training=len(real.subset),
        num_samples=len(held_out),
        elapsed_seconds=round(time.monotonic() - started, 1),
        trials=tuple(trials),
    )


def divide(source: Source, *, seed: int) -> tuple[RealData, LabelledImages]:
    """Divide train into what the planted generators "trained on", what the honest one is made of, and unseen images.

    Raises:
        UsageError: a class has too few images.
    """
    train = source.train
    quarter = int(train.class_counts().min()) // 4
    if quarter < LEAST_PER_CLASS:
        raise UsageError(
            f"the audit needs {4 * LEAST_PER_CLASS} train images of every class; {source.name} has a class with "
            f"{int(train.class_counts().min())}"
        )
    rng = numpy_stream(seed, "audit", "division")
    shuffled = [rng.permutation(np.flatnonzero(train.labels == label)) for label in range(train.num_classes)]
    num_subset, num_samples = min(SUBSET_PER_CLASS, quarter), min(SAMPLES_PER_CLASS, quarter)

    def part(slot: slice) -> LabelledImages:
        return train.take(np.sort(np.concatenate([rows[slot] for rows in shuffled])).astype(np.int64))

    rest = part(slice(num_samples, None))
    subset = part(slice(num_samples, num_samples + num_subset))
    return RealData(subset=subset, train=rest, test=source.test), part(slice(num_samples))


def planted_generators(real: RealData, held_out: LabelledImages, *, seed: int) -> list[_Plant]:
    """Make the samples of every planted generator, as many as there are held-out images."""
    rng = numpy_stream(seed, "audit", "plants")
    count = len(held_out)
    honest = _deformed(held_out, seed=seed)
    replayed = real.subset.take(rng.integers(0, len(real.subset), count))
    firsts = np.array([np.flatnonzero(held_out.labels == label)[0] for label in range(held_out.num_classes)])
    collapsed = held_out.take(firsts[held_out.labels])
    seen_test = real.test.take(np.sort(rng.permutation(len(real.test))[:count]).astype(np.int64))
    noise = rng.integers(0, 256, held_out.images.shape, dtype=np.uint8)
    return [
        _Plant(generator=HONEST, expected=None, samples=honest),
        _Plant(generator="replays training images", expected="no copies of training images", samples=replayed),
        _Plant(
            generator="replays them with noise",
            expected="no copies of training images",
            samples=_noisy(replayed, rng),
        ),
        _Plant(generator="real images, duplicated", expected="no duplicates", samples=_twice(real.subset)),
        _Plant(generator="one mode per class", expected="varied in every class", samples=_noisy(collapsed, rng)),
        _Plant(generator="a fifth of labels wrong", expected="labels are right", samples=_mislabelled(honest, rng)),
        _Plant(generator="saw the test images", expected="test set unseen", samples=_deformed(seen_test, seed=seed)),
        _Plant(generator="noise", expected="realistic", samples=replace(held_out, images=noise)),
        _Plant(
            generator="one flat colour",
            expected="not constant",
            samples=replace(held_out, images=np.zeros_like(held_out.images)),
        ),
    ]


def _deformed(images: LabelledImages, *, seed: int) -> LabelledImages:
    rng = torch_stream(seed, "audit", "deformation")
    return replace(images, images=to_pixels(deform(to_unit_range(images.images), config=LIGHT_DEFORMATION, rng=rng)))


def _noisy(images: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    noisy = images.images + rng.normal(0, NOISE_LEVELS, images.images.shape)
    pixels: npt.NDArray[np.uint8] = noisy.round().clip(0, 255).astype(np.uint8)
    return replace(images, images=pixels)


def _twice(images: LabelledImages) -> LabelledImages:
    return images.take(np.repeat(np.arange(len(images)), 2))


def _mislabelled(images: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    labels = images.labels.copy()
    wrong = rng.permutation(len(labels))[: round(WRONG_SHARE * len(labels))]
    labels[wrong] = (labels[wrong] + rng.integers(1, images.num_classes, len(wrong))) % images.num_classes
    return replace(images, labels=labels)
