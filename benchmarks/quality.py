"""Time to quality: accuracy on real images of a classifier that saw only synthetic ones (TSTR), against training time.

    python -m benchmarks.quality --report-seconds 60,90,300,600 --split test [--device auto|cpu|cuda]

The default configuration and the chapter's plain DCGAN (float32) get the same wall-clock on all of MNIST. The clock
starts before the networks are built, and stands still while a generator is judged. Samples come from snapshots of the
second half of the time so far, as `gan.training` takes them. The classifier is judged twice: trained on the samples as
they are, and deformed as the classical arms deform theirs. `--split validation` trains the
GANs on 50,000 images and judges on the other 10,000: make every choice with it. `--split test` trains on all 60,000
and reads the test set once for each report time, which are fixed before anything runs.
"""

import argparse
import copy
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import torch

from benchmarks.protocol import Judge, held_out, overridden, samples_of
from benchmarks.results import add_result, synchronise
from data.base.device import Compute, resolve_compute
from data.config import DeformationConfig
from data.images import LabelledImages
from data.policies import policy_of
from data.sources.registry import load_source
from evaluation.config import ClassifierConfig
from gan.config import GanConfig, chapter_dcgan
from gan.networks import ConditionalGenerator, GeneratorEnsemble
from gan.training import Training, settle_batch_norm

KEEP_EVERY = 250  # steps
ENDLESS = 10**9  # steps; the clock decides
VALIDATION_IMAGES = 10_000


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
                kept[state.step] = copy.deepcopy(state.ema_generator)
        kept[state.step] = copy.deepcopy(state.ema_generator)
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


def many_images_gan() -> GanConfig:
    """Return the recipe for many images, twice as wide as that for few: at equal steps 96.57 % against 95.87 %."""
    return GanConfig(
        steps=ENDLESS,
        batch_size=128,
        generator_width=32,
        discriminator_width=32,
        learning_rate=5e-4,
        discriminator_learning_rate=5e-4,
        ema_decay=0.995,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report-seconds", default="60,90,300,600")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("default", "chapter"), help="train one of the two")
    parser.add_argument("--gan", action="append", default=[], metavar="KEY=VALUE", help="of the default configuration")
    parser.add_argument("--classifier", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--synthetic-per-class", type=int, default=5000)
    arguments = parser.parse_args()
    compute = resolve_compute(device=arguments.device, precision="auto")
    source = load_source("mnist")
    nothing = source.train.take(source.train.rows[:0])
    validation = held_out(source.train, without=nothing, count=VALIDATION_IMAGES, seed=0)
    seen = source.train
    if arguments.split == "validation":
        kept = torch.ones(len(source.train), dtype=torch.bool)
        kept[torch.from_numpy(validation.rows)] = False
        seen = source.train.take(kept.nonzero().squeeze(1).numpy())
    judge = Judge(
        config=overridden(ClassifierConfig(steps=2400, batch_size=128), arguments.classifier),
        policy=policy_of("digits", digits=DeformationConfig()),
        added_shares=(0.5, 0.5),
        judged_on=validation if arguments.split == "validation" else source.test,
        seed=arguments.seed,
        compute=compute,
    )
    report_seconds = sorted(float(text) for text in arguments.report_seconds.split(","))
    players = {
        "default": (overridden(many_images_gan(), arguments.gan), compute),
        "chapter": (chapter_dcgan(steps=ENDLESS), Compute(device=compute.device, precision="float32")),
    }
    for name, (config, precision) in players.items():
        if arguments.only not in (None, name):
            continue
        reports = train_by_the_clock(
            seen, config=config, report_seconds=report_seconds, seed=arguments.seed, compute=precision
        )
        for due, (steps, generator) in zip(report_seconds, reports, strict=True):
            synthetic = samples_of(
                generator,
                images_per_class=arguments.synthetic_per_class,
                class_names=seen.class_names,
                seed=arguments.seed,
                compute=precision,
            )
            plain, deformed = (judge.accuracy(judge.fit(synthetic, classical=each)) for each in (False, True))
            what = f"{name}, TSTR on {arguments.split} after {due:.0f} s of training"
            figure = f"{plain:.2%}, with deformation in the classifier's training {deformed:.2%} ({steps:,} steps)"
            add_result("quality", compute=precision, figures=[(what, figure)])


if __name__ == "__main__":
    main()
