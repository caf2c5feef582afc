"""Recipes for images without labels, side by side: partners without a GAN, and GANs that learn from the same images.

    python -m benchmarks.unlabelled --draws 6 --workers 6            # minutes on a GPU, hours on a processor
    python -m benchmarks.unlabelled --dataset folder:my-images --only fixmatch gan "gan, 4,000 steps"

Each draw has its own few labelled images, its own images without labels, and other train images that it is judged on:
recipes are chosen here, never on the test split, and on draws (7000 and above) that no study reports. One classifier
of each arm. Accuracies in %, per draw and on average, go to benchmarks/TRIALS.md with whatever is concluded from them.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.protocol import held_out, overridden, trained_samples
from data.base.device import resolve_compute
from data.base.randomness import child_seed, numpy_stream
from data.images import LabelledImages
from data.regimes import BalancedRegime, draw_subset
from data.sources.registry import load_source
from data.unlabelled import UnlabelledImages, drawn_for_cell, rest_of_pool, with_pseudo_labelled
from evaluation.arms import CONSISTENT_ARM, HEADLINE_ARM, HEADLINE_REFERENCE, SELF_TRAINED_ARM, Material, training_set
from evaluation.classifiers import fit_classifier
from evaluation.config import TrainingConfig
from evaluation.fitting import Classifier, FitOptions
from evaluation.metrics import accuracy
from evaluation.predictions import predictions_on
from evaluation.pseudo_labels import labelled_by
from gan.config import GanConfig

FIRST_DRAW = 7000
JUDGED_ON, MOST_UNLABELLED, SYNTHETIC_PER_CLASS = 5000, 5000, 500
PARTNERS: Mapping[str, tuple[str, tuple[str, ...]]] = {  # name: arm, changes to `TrainingConfig`
    "real+classical": (HEADLINE_REFERENCE, ()),
    "real+classical, 4 times the steps": (HEADLINE_REFERENCE, ("classifier.steps=3600",)),
    "pseudo-labels": (SELF_TRAINED_ARM, ()),
    "pseudo-labels, 1 round": (SELF_TRAINED_ARM, ("pseudo_labels.rounds=1",)),
    "pseudo-labels, 3 rounds": (SELF_TRAINED_ARM, ("pseudo_labels.rounds=3",)),
    "pseudo-labels, a quarter to the end": (SELF_TRAINED_ARM, ("final_added_share=0.25",)),
    "fixmatch": (CONSISTENT_ARM, ()),
    "fixmatch, ratio 4": (CONSISTENT_ARM, ("consistency.ratio=4",)),
    "fixmatch, twice the steps": (CONSISTENT_ARM, ("consistency.longer=2",)),
    "fixmatch, threshold 0.95": (CONSISTENT_ARM, ("consistency.threshold=0.95",)),
    "fixmatch, threshold 0.8": (CONSISTENT_ARM, ("consistency.threshold=0.8",)),
    "fixmatch, stronger": (CONSISTENT_ARM, ("consistency.strong=1.5",)),
    "fixmatch, no square": (CONSISTENT_ARM, ("consistency.cutout=0",)),
}
GANS: Mapping[str, tuple[str, ...]] = {  # name: changes to `GanConfig`
    "gan": (),
    "gan, 4,000 steps": ("steps=4000",),
    "gan, 10,000 steps": ("steps=10000",),
    "gan, 4,000 steps, no codes": ("steps=4000", "reconstruction_weight=0"),
    "gan, 4,000 steps, width 32, batch 64": (
        "steps=4000", "generator_width=32", "discriminator_width=32", "batch_size=64"
    ),
}  # fmt: skip
COMBINED_ARM = "fixmatch+synthetic"


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What one draw may learn from, and what it is judged on."""

    number: int
    policy: str
    subset: LabelledImages
    unlabelled: UnlabelledImages
    judged_on: LabelledImages

    @classmethod
    def of(cls, number: int, *, dataset: str, per_class: int, policy: str) -> "Draw":
        """Draw from a data set's train split; `policy` is the classical augmentation."""
        train = load_source(dataset).train
        subset = draw_subset(train, BalancedRegime(per_class), rng=numpy_stream(number, "split"))
        count = min(JUDGED_ON, (len(train) - len(subset)) // 2)
        judged_on = held_out(train, without=subset, count=count, seed=number)
        rest = rest_of_pool(train.take(np.flatnonzero(~np.isin(train.rows, judged_on.rows))), subset)
        return cls(
            number=number,
            policy=policy,
            subset=subset,
            unlabelled=drawn_for_cell(rest, most=MOST_UNLABELLED, subset=subset),
            judged_on=judged_on,
        )

    def fitted(self, arm: str, config: TrainingConfig, *, synthetic: LabelledImages | None, stream: str) -> Classifier:
        """Train an arm's classifier."""
        config = config.for_subset(len(self.subset), policy=self.policy)
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
            num_synthetic=0 if synthetic is None else len(synthetic),
            config=config,
            options=options,
        )
        return fit_classifier(training_set(arm, material), options)

    def accuracy(self, classifier: Classifier) -> float:
        """Return the share of right answers, in %."""
        answers = classifier.predict_probabilities(self.judged_on.images)
        return 100 * accuracy(predictions_on(self.judged_on, answers))


def figures_of(
    number: int, *, dataset: str, per_class: int, policy: str, only: Sequence[str]
) -> list[tuple[str, float]]:
    """Return what each recipe gave on one draw: its name, and an accuracy in % or the like."""
    torch.set_num_threads(1)
    draw = Draw.of(number, dataset=dataset, per_class=per_class, policy=policy)
    return list(_figures(draw, only=only))


def _figures(draw: Draw, *, only: Sequence[str]) -> Iterator[tuple[str, float]]:
    def wanted(name: str) -> bool:
        return not only or name in only

    for name, (arm, changes) in PARTNERS.items():
        if wanted(name):
            fitted = draw.fitted(arm, overridden(TrainingConfig(), changes), synthetic=None, stream="classifier")
            yield name, draw.accuracy(fitted)
    gans = {name: changes for name, changes in GANS.items() if wanted(name)}
    if not gans:
        return
    config = TrainingConfig()
    teacher = draw.fitted(CONSISTENT_ARM, config, synthetic=None, stream="labelling")
    labelled = labelled_by(
        teacher,
        draw.unlabelled,
        class_names=draw.subset.class_names,
        threshold=config.consistency.threshold,
    )
    yield "images labelled, %", 100 * len(labelled) / len(draw.unlabelled)
    images = with_pseudo_labelled(draw.subset, labelled)
    compute = resolve_compute(device="auto", precision="auto")
    for name, changes in gans.items():
        synthetic, seconds = trained_samples(
            images,
            config=overridden(GanConfig(), changes).for_subset(
                len(images), imbalance=images.imbalance, policy=draw.policy
            ),
            images_per_class=SYNTHETIC_PER_CLASS,
            seed=draw.number,
            compute=compute,
        )
        yield f"{name}: seconds", seconds
        for arm in ("synthetic+classical", HEADLINE_ARM, COMBINED_ARM):
            fitted = draw.fitted(arm, config, synthetic=synthetic, stream="classifier")
            yield f"{name}: {arm}", draw.accuracy(fitted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--images-per-class", type=int, default=10)
    parser.add_argument("--policy", default="digits", help="of classical augmentation")
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--first-draw", type=int, default=FIRST_DRAW)
    parser.add_argument("--workers", type=int, default=1, help="draws at a time, on one GPU too")
    parser.add_argument("--only", nargs="*", default=[], help=f"of {', '.join([*PARTNERS, *GANS])}")
    arguments = parser.parse_args()
    unknown = set(arguments.only) - {*PARTNERS, *GANS}
    if unknown:
        parser.error(f"no recipe {', '.join(sorted(unknown))}")
    found: dict[str, list[float]] = {}
    started = time.monotonic()
    with ProcessPoolExecutor(arguments.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [
            pool.submit(
                figures_of,
                number,
                dataset=arguments.dataset,
                per_class=arguments.images_per_class,
                policy=arguments.policy,
                only=arguments.only,
            )
            for number in range(arguments.first_draw, arguments.first_draw + arguments.draws)
        ]
        for done in waiting:
            for name, figure in done.result():
                found.setdefault(name, []).append(figure)
            print(f"{len(next(iter(found.values())))} draws after {time.monotonic() - started:.0f} s", flush=True)
    for name, figures in found.items():
        each = " ".join(f"{figure:.2f}" for figure in figures)
        print(f"{name}: {statistics.mean(figures):.2f} ({each})")


if __name__ == "__main__":
    main()
