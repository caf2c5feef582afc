"""Time to quality: accuracy on real images of a classifier that saw only synthetic ones (TSTR), against training time.

    python -m benchmarks.quality --report-seconds 60,90,300,600 --split test [--device auto|cpu|cuda]
    python -m benchmarks.quality --dataset parquet:cifar10-part --players pca-mixture dcgan residual --report-seconds 60

Both architectures in one recipe, the chapter's plain DCGAN (float32) and cheap generators get the same wall-clock on
all train images; "real" are these images themselves. The clock starts before the networks are built, and stands still
while a generator is judged. Samples come from snapshots of the second half of the time so far, as `gan.training` takes
them. The classifier is judged twice: trained on the samples as they are, and augmented as the classical arms augment
theirs. FID and KID are taken on features of this project's own instrument and compare within one data set alone.
`--split validation` keeps a part of the train images from all generators and judges on it: make every choice with it.
`--split test` trains on all of them and reads the test set once for each report time, which are fixed before anything
runs.
"""

import argparse
import copy
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.protocol import Judge, held_out, overridden, samples_of
from benchmarks.results import add_result, synchronise
from data.base.device import Compute, resolve_compute
from data.base.randomness import numpy_stream
from data.config import DeformationConfig
from data.images import LabelledImages
from data.policies import policy_of
from data.sources.registry import load_source
from evaluation.baselines import BASELINES
from evaluation.config import ClassifierConfig, FeaturesConfig, SamplesConfig
from evaluation.features import FeatureNetwork, feature_network
from evaluation.fidelity import fidelity_figures
from gan.config import GanConfig, chapter_dcgan
from gan.networks import ConditionalGenerator, GeneratorEnsemble
from gan.training import Training, settle_batch_norm

KEEP_EVERY = 250  # steps
ENDLESS = 10**9  # steps; the clock decides
VALIDATION_IMAGES = 10_000  # or a fifth of fewer than 50,000
PLAYERS = ("dcgan", "residual", "chapter", *BASELINES, "real")


def train_by_the_clock(
    images: LabelledImages, *, config: GanConfig, report_seconds: Sequence[float], seed: int, compute: Compute
) -> Iterator[tuple[int, GeneratorEnsemble]]:
    """Yield (steps so far, generator) at each of the report times."""
    config = config.for_subset(len(images), image_shape=images.shape)
    kept: dict[int, ConditionalGenerator] = {}
    spent, started = 0.0, time.perf_counter()
    training = Training(images, config=config, seed=seed, compute=compute)
    state = training.state
    for due in report_seconds:
        while spent + time.perf_counter() - started < due:
            training.step()
            if state.step % 20 == 0:
                synchronise(compute)  # or the clock would run ahead of the device
            if state.step % KEEP_EVERY == 0:
                kept[state.step] = training.averaged()
        kept[state.step] = training.averaged()
        members = [copy.deepcopy(kept[step]) for step in spread_over_second_half(list(kept), number=config.snapshots)]
        for member in members:
            settle_batch_norm(member, config=config, num_classes=images.num_classes, seed=seed, compute=compute)
        synchronise(compute)
        spent += time.perf_counter() - started
        yield state.step, GeneratorEnsemble(members)
        started = time.perf_counter()


def spread_over_second_half(steps: Sequence[int], *, number: int) -> list[int]:
    """Return `number` of `steps` (ascending), nearest below even places of the second half; fewer if few."""
    last, half = steps[-1], steps[-1] - steps[-1] // 2
    wished = [last - place * half // number for place in range(number)]
    return sorted({steps[max(0, bisect_right(steps, step) - 1)] for step in wished})


def many_images_gan(*, architecture: str) -> GanConfig:
    """Return the recipe for many images: the default one, in larger batches."""
    return GanConfig(
        architecture="residual" if architecture == "residual" else "dcgan",
        steps=ENDLESS,
        batch_size=64,
        ema_decay=0.995,
    )


def cheap_samples(images: LabelledImages, *, generator: str, images_per_class: int, seed: int) -> LabelledImages:
    """Return what a generator of `evaluation.baselines` makes of all images."""
    made, labels = BASELINES[generator](images.images, images.labels, images_per_class, seed)
    rows = np.arange(len(labels), dtype=np.int64)
    return LabelledImages(images=made, labels=labels, rows=rows, class_names=images.class_names)


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What all players are given, and how what they make is judged.

    Attributes:
        judge: of images of `seen`'s classes that are not among them.
        instrument: trained on `seen`.
    """

    seen: LabelledImages
    judge: Judge
    instrument: FeatureNetwork
    policy: str
    split: str
    images_per_class: int
    seed: int

    def report(self, synthetic: LabelledImages, *, who: str, how: str, compute: Compute) -> None:
        """Judge a player's samples and add a row."""
        plain, augmented = (self.judge.accuracy(self.judge.fit(synthetic, classical=each)) for each in (False, True))
        rng = numpy_stream(self.seed, "fidelity")
        some = synthetic.images[np.sort(rng.permutation(len(synthetic))[: len(self.judge.judged_on)])]
        figures = fidelity_figures(
            self.instrument.features(self.judge.judged_on.images),
            self.instrument.features(some),
            config=SamplesConfig(),
            rng=rng,
        )
        fid, kid, recall = (
            "none" if each.value is None else f"{each.value:.3f}" for each in (figures.fid, figures.kid, figures.recall)
        )
        figure = (
            f"{plain:.2%}, with augmentation in the classifier's training {augmented:.2%}; "
            f"FID {fid}, KID {kid}, recall {recall} ({how})"
        )
        add_result("quality", compute=compute, figures=[(f"{who}, TSTR on {self.split}", figure)])

    def play(self, player: str, *, gan: Sequence[str], report_seconds: Sequence[float]) -> None:
        """Let a player train, and report at each of the times; "real" and cheap generators need none."""
        compute = self.judge.compute
        if player == "real":
            self.report(self.seen, who=player, how=f"{len(self.seen):,} images", compute=compute)
            return
        if player in BASELINES:
            started = time.perf_counter()
            made = cheap_samples(self.seen, generator=player, images_per_class=self.images_per_class, seed=self.seed)
            self.report(made, who=player, how=f"{time.perf_counter() - started:.0f} s", compute=compute)
            return
        config, precision = overridden(many_images_gan(architecture=player), gan), compute
        if player == "chapter":
            config, precision = chapter_dcgan(steps=ENDLESS), Compute(device=compute.device, precision="float32")
        decided = config.for_subset(
            len(self.seen), imbalance=self.seen.imbalance, policy=self.policy, image_shape=self.seen.shape
        )
        reports = train_by_the_clock(
            self.seen, config=decided, report_seconds=report_seconds, seed=self.seed, compute=precision
        )
        for due, (steps, generator) in zip(report_seconds, reports, strict=True):
            made = samples_of(
                generator,
                images_per_class=self.images_per_class,
                class_names=self.seen.class_names,
                seed=self.seed,
                compute=precision,
            )
            who = f"{player} after {due:.0f} s of training"
            self.report(made, who=who, how=f"{steps:,} steps", compute=precision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--players", nargs="+", choices=PLAYERS, default=["dcgan", "chapter"])
    parser.add_argument("--policy", help="of classical augmentation; default: digits for grayscale, natural for colour")
    parser.add_argument("--report-seconds", default="60,90,300,600")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gan", nargs="*", default=[], metavar="KEY=VALUE", help="of both architectures' recipe")
    parser.add_argument("--classifier", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--synthetic-per-class", type=int, default=5000)
    arguments = parser.parse_args()
    compute = resolve_compute(device=arguments.device, precision="auto")
    source = load_source(arguments.dataset)
    nothing = source.train.take(source.train.rows[:0])
    count = min(VALIDATION_IMAGES, len(source.train) // 5)
    validation = held_out(source.train, without=nothing, count=count, seed=0)
    seen = source.train
    if arguments.split == "validation":
        seen = source.train.take(np.flatnonzero(~np.isin(source.train.rows, validation.rows)))
    policy = arguments.policy or ("natural" if seen.shape[0] == 3 else "digits")
    judge = Judge(
        config=overridden(ClassifierConfig(steps=2400, batch_size=128), arguments.classifier),
        policy=policy_of(policy, digits=DeformationConfig()),
        added_shares=(0.5, 0.5),
        judged_on=validation if arguments.split == "validation" else source.test,
        seed=arguments.seed,
        compute=compute,
    )
    with tempfile.TemporaryDirectory() as scratch:
        instrument = feature_network(
            seen, Path(scratch), config=FeaturesConfig(), compute=compute, on_progress=lambda _: None
        )
    contest = Contest(
        seen=seen,
        judge=judge,
        instrument=instrument,
        policy=policy,
        split=arguments.split,
        images_per_class=arguments.synthetic_per_class,
        seed=arguments.seed,
    )
    report_seconds = sorted(float(text) for text in arguments.report_seconds.split(","))
    for player in arguments.players:
        contest.play(player, gan=arguments.gan, report_seconds=report_seconds)


if __name__ == "__main__":
    main()
