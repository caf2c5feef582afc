"""What classifier seeds do to a difference between arms: shared by both arms, against seeds of their own.

    python -m benchmarks.seeds --draws 8 --seeds 12

A draw is a subset of MNIST, its GAN, and classifiers of real+classical and real+classical+synthetic, both with the
seeds 0, 1, ...; judged on train images outside the subset. Differences by seed show what common random numbers leave
of the seeds' noise; the two arms' own variances, added, what it would be without. What varies between draws beyond the
seeds, over that noise, is `evaluation.intervals.DRAWS_TO_FIT`.
"""

import argparse
from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from benchmarks.protocol import Judge, by_draw, held_out, trained_samples
from benchmarks.results import add_result
from data.base.device import resolve_compute
from data.base.randomness import numpy_stream
from data.config import DeformationConfig
from data.policies import policy_of
from data.regimes import BalancedRegime, draw_subset
from data.sources.registry import load_source
from evaluation.arms import HEADLINE_ARM, HEADLINE_REFERENCE
from evaluation.config import ClassifierConfig, TrainingConfig
from gan.config import GanConfig

VALIDATION_IMAGES = 10_000
SYNTHETIC_PER_CLASS = 500
Accuracies = npt.NDArray[np.float64]


def accuracies(draw: int, *, images_per_class: int, seeds: int) -> Iterator[tuple[str, float]]:
    """Yield the accuracy of both arms with each seed in %: of the reference, then of the arm with samples."""
    compute = resolve_compute(device="auto", precision="auto")
    train = load_source("mnist").train
    subset = draw_subset(train, BalancedRegime(images_per_class), rng=numpy_stream(draw, "split"))
    judged_on = held_out(train, without=subset, count=VALIDATION_IMAGES, seed=draw)
    synthetic, _ = trained_samples(
        subset, config=GanConfig(), images_per_class=SYNTHETIC_PER_CLASS, seed=draw, compute=compute
    )
    for seed in range(seeds):
        judge = Judge(
            config=ClassifierConfig(),
            policy=policy_of("digits", digits=DeformationConfig()),
            added_shares=TrainingConfig().for_subset(len(subset), policy="digits").added_shares,
            judged_on=judged_on,
            seed=1000 * draw + seed,
            compute=compute,
        )
        for arm, added in ((HEADLINE_REFERENCE, None), (HEADLINE_ARM, synthetic)):
            yield f"{arm}, seed {seed}", 100 * judge.accuracy(judge.fit(subset, added=added, classical=True))


def seed_figures(rows: npt.NDArray[np.float64]) -> list[tuple[str, str]]:
    """Return the lines of the results table, from accuracies (draws, 2, seeds)."""
    draws, _, seeds = rows.shape
    differences = rows[:, 1] - rows[:, 0]
    shared = float(differences.var(1, ddof=1).mean())
    own = float(rows.var(2, ddof=1).sum(1).mean())
    between = float(differences.mean(1).var(ddof=1)) - shared / seeds
    correlations = [float(np.corrcoef(row)[0, 1]) for row in rows]
    where = f"{draws} draws, {seeds} seeds"
    error = np.std(correlations, ddof=1) / draws**0.5
    return [
        (f"{where}: SD of a difference by seed, seeds shared by both arms", f"{shared**0.5:.3f}"),
        (f"{where}: SD of a difference by seed, seeds of their own", f"{own**0.5:.3f}"),
        (f"{where}: correlation of the arms over seeds", f"{np.mean(correlations):.2f} (standard error {error:.2f})"),
        (f"{where}: variance between draws over that between fits, shared", f"{between / shared:.2f}"),
        (f"{where}: the same, seeds of their own", f"{(between + (shared - own) / seeds) / own:.2f}"),
        (
            f"{where}: gain in points",
            f"{differences.mean():+.2f} (SD between draws {differences.mean(1).std(ddof=1):.2f})",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--first-draw", type=int, default=9500)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--images-per-class", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    compute = resolve_compute(device="auto", precision="auto")
    found = by_draw(
        partial(accuracies, images_per_class=arguments.images_per_class, seeds=arguments.seeds),
        draws=range(arguments.first_draw, arguments.first_draw + arguments.draws),
        workers=arguments.workers,
    )
    by_seed = np.array(list(found.values()))  # (2 * seeds, draws), both arms of a seed one after the other
    figures = seed_figures(by_seed.reshape(arguments.seeds, 2, -1).transpose(2, 1, 0))
    add_result("seeds", compute=compute, figures=figures)


if __name__ == "__main__":
    main()
