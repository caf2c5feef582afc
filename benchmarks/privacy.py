"""What a GAN's samples and its file tell about who was in training, and what it costs to tell less.

    python -m benchmarks.privacy --workers 2 --draws 6            # AUC and gain of every recipe, 10 images per class
    python -m benchmarks.privacy --per-class 100 --draws 3        # other subsets
    python -m benchmarks.privacy --table                          # of what is there

Each draw is a subset of MNIST's train images. Gains are those of real+classical+synthetic over real+classical, with
the same seed, judged on 10,000 train images outside the subset: no test image has a part in it. The attacks
(`evaluation.membership`) are made with the same images. A finished recipe of a draw leaves a line of JSON; stopped in
between, the same call goes on.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel
from scipy import stats

from benchmarks.pieces import read_lines, worked_through
from benchmarks.protocol import Judge, held_out, overridden, samples_of, trained_generator
from data.base.device import Compute, DeviceChoice, resolve_compute
from data.base.randomness import numpy_stream
from data.config import DeformationConfig
from data.images import LabelledImages
from data.policies import policy_of
from data.regimes import BalancedRegime, draw_subset
from data.sources.registry import load_source
from evaluation.config import ClassifierConfig, TrainingConfig
from evaluation.membership import measure_membership
from evaluation.memorisation import nearest, pixel_vectors
from gan.config import GanConfig
from gan.inversion import nearest_made
from gan.networks import ConditionalGenerator, GeneratorEnsemble

FIRST_DRAW = 12_000  # draws of other benchmarks are others
SYNTHETIC_PER_CLASS = 500
VALIDATION_IMAGES = 10_000
REFERENCE = "no synthetic images"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How samples are made.

    Attributes:
        gan: changes to the default recipe.
        spread: `GanConfig.sample_spread`, where it differs.
        kept: share of the samples, those farthest from the training images of their class; the others are dropped.
    """

    gan: tuple[str, ...] = ()
    spread: float | None = None
    kept: float = 1.0


RECIPES = {
    "as it ships": Recipe(),
    "sample_spread = 8": Recipe(spread=8),
    "nearest half dropped": Recipe(kept=0.5),
    "reconstruction_weight = 0.3": Recipe(gan=("reconstruction_weight=0.3",)),
    "reconstruction_weight = 0": Recipe(gan=("reconstruction_weight=0",)),
    "steps = 500": Recipe(gan=("steps=500",)),
}


class Traded(BaseModel, frozen=True, extra="forbid"):
    """One recipe in one draw: areas under the ROC curve, members found at 1% false alarms, accuracy in %.

    Attributes:
        file_auc, file_caught: of the attack on the generator's file; None where there is no generator.
    """

    recipe: str
    draw: int
    per_class: int
    accuracy: float
    auc: float | None = None
    caught: float | None = None
    file_auc: float | None = None
    file_caught: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One recipe to be tried in one draw."""

    recipe: str
    draw: int
    per_class: int
    device: DeviceChoice

    @property
    def name(self) -> str:
        """What its line is found by."""
        return f"{self.per_class} {self.draw} {self.recipe}"


def traded(trial: Trial) -> Traded:
    """Train a recipe's GAN, attack it and its samples, and measure what classifiers gain by them."""
    compute = resolve_compute(device=trial.device, precision="auto")
    source = load_source("mnist").train
    subset = draw_subset(source, BalancedRegime(trial.per_class), rng=numpy_stream(trial.draw, "split"))
    others = held_out(source, without=subset, count=VALIDATION_IMAGES, seed=trial.draw)
    if trial.recipe == REFERENCE:
        accuracy = _accuracy(subset, None, others=others, draw=trial.draw, compute=compute)
        return Traded(recipe=trial.recipe, draw=trial.draw, per_class=trial.per_class, accuracy=accuracy)
    recipe = RECIPES[trial.recipe]
    generator = _trained(subset, recipe, draw=trial.draw, compute=compute)
    samples = _samples(generator, subset, recipe, seed=trial.draw, compute=compute)
    found = measure_membership(
        samples,
        members=subset,
        others=others,
        known=others,
        rng=numpy_stream(trial.draw, "membership"),
        nearest_made=lambda images: nearest_made(generator, images, compute=compute),
    )
    assert found.generator is not None
    return Traded(
        recipe=trial.recipe,
        draw=trial.draw,
        per_class=trial.per_class,
        accuracy=_accuracy(subset, samples, others=others, draw=trial.draw, compute=compute),
        auc=found.samples.auc,
        caught=found.samples.caught,
        file_auc=found.generator.auc,
        file_caught=found.generator.caught,
    )


def _trained(subset: LabelledImages, recipe: Recipe, *, draw: int, compute: Compute) -> GeneratorEnsemble:
    config = overridden(GanConfig(), recipe.gan)
    generator, _ = trained_generator(subset, config=config, seed=draw, compute=compute)
    for member in generator.members:
        assert isinstance(member, ConditionalGenerator)
        if recipe.spread is not None:
            member.sample_spread = recipe.spread
    return generator


def _samples(
    generator: GeneratorEnsemble, subset: LabelledImages, recipe: Recipe, *, seed: int, compute: Compute
) -> LabelledImages:
    drawn = samples_of(
        generator,
        images_per_class=round(SYNTHETIC_PER_CLASS / recipe.kept),
        class_names=subset.class_names,
        seed=seed,
        compute=compute,
    )
    kept = []
    for label in range(drawn.num_classes):
        rows = np.flatnonzero(drawn.labels == label)
        members = pixel_vectors(subset.images[subset.labels == label])
        _, distances = nearest(pixel_vectors(drawn.images[rows]), members)
        kept.append(rows[np.argsort(-distances, kind="stable")[:SYNTHETIC_PER_CLASS]])
    return drawn.take(np.sort(np.concatenate(kept)).astype(np.int64))


def _accuracy(
    subset: LabelledImages, added: LabelledImages | None, *, others: LabelledImages, draw: int, compute: Compute
) -> float:
    judge = Judge(
        config=ClassifierConfig(),
        policy=policy_of("digits", digits=DeformationConfig()),
        added_shares=TrainingConfig().for_subset(len(subset), policy="digits").added_shares,
        judged_on=others,
        seed=draw,
        compute=compute,
    )
    return 100 * judge.accuracy(judge.fit(subset, added=added, classical=True))


def table(found: Sequence[Traded]) -> list[str]:
    """Return a row for each recipe: means over the draws, gains with the 95% interval of their mean over draws."""
    lines = []
    for per_class in sorted({one.per_class for one in found}):
        these = [one for one in found if one.per_class == per_class]
        reference = {one.draw: one.accuracy for one in these if one.recipe == REFERENCE}
        lines += [
            f"| {per_class} images per class | draws | AUC, samples | found at 1% false alarms | AUC, generator file "
            "| found | gain in points |",
            "|---|---|---|---|---|---|---|",
        ]
        for recipe in RECIPES:
            rows = [one for one in these if one.recipe == recipe and one.draw in reference]
            if rows:
                gains = [one.accuracy - reference[one.draw] for one in rows]
                cells = [
                    f"{_range([one.auc for one in rows])}",
                    f"{_mean([one.caught for one in rows]):.0%}",
                    f"{_range([one.file_auc for one in rows])}",
                    f"{_mean([one.file_caught for one in rows]):.0%}",
                    _interval(gains),
                ]
                lines.append(f"| {recipe} | {len(rows)} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def _mean(values: Sequence[float | None]) -> float:
    return statistics.mean(value for value in values if value is not None)


def _range(values: Sequence[float | None]) -> str:
    there = [value for value in values if value is not None]
    return f"{statistics.mean(there):.3f} ({min(there):.3f} to {max(there):.3f})"


def _interval(gains: Sequence[float]) -> str:
    middle = statistics.mean(gains)
    if len(gains) < 2:
        return f"{middle:+.2f}"
    half = float(stats.t.ppf(0.975, len(gains) - 1)) * statistics.stdev(gains) / len(gains) ** 0.5
    return f"{middle:+.2f} ({middle - half:+.2f} to {middle + half:+.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Try what is not tried yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=10, help="images of the subset")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--only", nargs="*", default=list(RECIPES), choices=list(RECIPES), metavar="RECIPE")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each, on one GPU too")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--lines", type=Path, default=Path("runs/bench-privacy.jsonl"), help="where finished ones go")
    parser.add_argument("--table", action="store_true", help="try nothing, print the table of what is there")
    options = parser.parse_args(arguments)
    if not options.table:
        trials = [
            Trial(recipe=recipe, draw=FIRST_DRAW + number, per_class=options.per_class, device=options.device)
            for number in range(options.draws)
            for recipe in (REFERENCE, *options.only)
        ]
        worked_through(
            {trial.name: trial for trial in trials}, traded, found=Traded, lines=options.lines, workers=options.workers
        )
    print("\n".join(table(list(read_lines(options.lines, found=Traded).values()))))


if __name__ == "__main__":
    main()
