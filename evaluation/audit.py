"""The audit of the audit: plant generators that cheat or fail, and see whether the checks name each of them.

Each planted generator (`evaluation.plants`) must be failed by the check meant for it; the honest ones, by none of those
that ask what a generator has seen. These are a mixture in the principal components of the subset, and whatever the
caller has trained on the subset alone, such as a quick GAN.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel

from data.base.errors import UsageError
from data.base.randomness import child_seed, numpy_stream
from data.images import LabelledImages, identities
from data.sources.source import Source
from evaluation.checks import Check, CheckName
from evaluation.config import SamplesConfig
from evaluation.features import FeatureNetwork
from evaluation.membership import Membership, NearestMade
from evaluation.plants import (
    Family,
    Plant,
    alterations_of,
    copying_plants,
    failing_plants,
    mixture_samples,
    wholesale_plants,
)
from evaluation.samples import RealData, evaluate_samples, leak_parts

SUBSET_PER_CLASS, MOST_SAMPLES = 50, 2000  # at most
LEAST_PER_CLASS = 10
SHARE = 0.03  # of the samples that are copies; small, since large shares are easier to find
REAL = "real images that nobody used"
MIXTURE = "a mixture in principal components"
CONDUCT: tuple[CheckName, ...] = (
    "not constant",
    "no copies of training images",
    "no copies of other train images",
    "no copies of test images",
    "test set unseen",
    "every class is there",
)
"""Checks that an honest generator passes however weak it is; the others tell how good its samples are."""


class AuditTrial(BaseModel, frozen=True, extra="forbid"):
    """One generator before the checks.

    Attributes:
        expected: the checks that must fail it; none for an honest one, which none of `CONDUCT` may fail.
        membership: what the samples tell about who was in training.
    """

    generator: str
    family: Family
    expected: tuple[CheckName, ...]
    checks: tuple[Check, ...]
    membership: Membership

    @property
    def flagged_by(self) -> tuple[CheckName, ...]:
        """The checks that it failed."""
        return tuple(check.name for check in self.checks if check.passed is False)

    @property
    def as_expected(self) -> bool:
        """Whether the cheat was caught, or the honest one let through."""
        if self.expected:
            return set(self.expected) <= set(self.flagged_by)
        return not set(self.flagged_by) & set(CONDUCT)


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
    """A real generator's samples to put before the same checks, as an honest one's.

    Attributes:
        nearest_made: how near the generator can be brought to images; None where its file is not there.
    """

    name: str
    synthetic: LabelledImages
    subset: LabelledImages
    nearest_made: NearestMade | None = None


@dataclass(frozen=True, kw_only=True)
class AuditProgress:
    """Which generator is being judged."""

    done: int
    total: int
    generator: str


def run_audit(
    divided: "Divided",
    *,
    network: FeatureNetwork,
    config: SamplesConfig,
    seed: int,
    on_progress: Callable[[AuditProgress], None],
    honest: Mapping[str, LabelledImages] | None = None,
    given: GivenSamples | None = None,
) -> AuditReport:
    """Put every planted generator, and `given` samples where there are some, before the checks.

    Args:
        honest: samples of further generators that saw `divided.real.subset` alone, by name.

    Raises:
        UsageError: given samples that do not fit the data set.
    """
    started = time.monotonic()
    plants = planted_generators(divided, network=network, seed=seed)
    plants += [
        Plant(generator=name, family="honest", expected=(), samples=samples) for name, samples in (honest or {}).items()
    ]
    total = len(plants) + (given is not None)
    trials: list[AuditTrial] = []

    def judge(plant: Plant, real: RealData) -> None:
        on_progress(AuditProgress(done=len(trials), total=total, generator=plant.generator))
        evaluation = evaluate_samples(
            plant.samples, real=real, network=network, config=config, seed=child_seed(seed, "audit", plant.generator)
        )
        trials.append(
            AuditTrial(
                generator=plant.generator,
                family=plant.family,
                expected=plant.expected,
                checks=evaluation.checks,
                membership=evaluation.membership,
            )
        )

    prepared = replace(divided.real, leak_parts=leak_parts(divided.real, config=config, seed=seed))
    for plant in plants:
        judge(plant, prepared)
    if given is not None:
        whole = RealData(
            subset=given.subset,
            train=divided.source.train,
            test=divided.source.test,
            nearest_made=given.nearest_made,
        )
        judge(Plant(generator=given.name, family="honest", expected=(), samples=given.synthetic), whole)
    return AuditReport(
        dataset=divided.source.name,
        seed=seed,
        features=network.digest,
        num_training=len(divided.real.subset),
        num_samples=len(divided.unused),
        elapsed_seconds=round(time.monotonic() - started, 1),
        trials=tuple(trials),
    )


@dataclass(frozen=True, kw_only=True)
class Divided:
    """A data set divided for the audit.

    Attributes:
        real: what the planted generators have seen, and could have stolen from.
        unused: real train images that neither holds.
    """

    source: Source
    real: RealData
    unused: LabelledImages


def divide(
    source: Source, *, seed: int, subset_per_class: int = SUBSET_PER_CLASS, samples: int = MOST_SAMPLES
) -> Divided:
    """Divide train into what the planted generators "trained on", the rest, and real images that are in neither.

    Images that a data set holds twice are not among the last: they would be copies, though nobody made them.

    Args:
        subset_per_class: images of each class that they saw, at most.
        samples: images that are in neither, at most; as many are made by each generator.

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
    num_samples = max(LEAST_PER_CLASS, min(samples // train.num_classes, quarter))
    num_subset = min(subset_per_class, quarter)

    def part(slot: slice) -> LabelledImages:
        return train.take(np.sort(np.concatenate([rows[slot] for rows in shuffled])).astype(np.int64))

    rest = part(slice(num_samples, None))
    subset = part(slice(num_samples, num_samples + num_subset))
    real = RealData(subset=subset, train=rest, test=source.test)
    known = {*identities(rest), *identities(source.test)}
    unused = part(slice(num_samples))
    alone = [row for row, identity in enumerate(identities(unused)) if identity not in known]
    return Divided(source=source, real=real, unused=unused.take(np.array(alone, np.int64)))


def planted_generators(divided: Divided, *, network: FeatureNetwork, seed: int) -> list[Plant]:
    """Make the samples of every planted generator, as many as there are unused images.

    Args:
        network: the instrument that will judge them.
    """
    rng = numpy_stream(seed, "audit", "plants")
    unused, real = divided.unused, divided.real
    mixture = mixture_samples(real.subset, unused.labels, rng=rng)
    return [
        Plant(generator=REAL, family="honest", expected=(), samples=unused),
        Plant(generator=MIXTURE, family="honest", expected=(), samples=mixture),
        *copying_plants(mixture, real, share=SHARE, alterations=alterations_of(unused), rng=rng),
        *wholesale_plants(mixture, real, rng=rng),
        *failing_plants(unused, unjudged=network.unseen(unused), rng=rng),
    ]
