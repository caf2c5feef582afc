"""Rare classes: what a synthetic set that evens the classes out adds to classical augmentation of a long-tailed subset.

    python -m benchmarks.long_tail --n-max 500 --imbalance 100 --draws 20 --split test

Each draw takes its own long-tailed subset of MNIST (its rare classes are always the last digits), trains the GAN on it
alone, and all arms with the same number of optimiser steps. The arms without a GAN are the references:
`real+classical`, `class-weighted`, `oversampled`. `evened-out` is held against the best of them, which is the one with
the best mean over all draws, chosen once for each metric; choosing the best after the fact works against the GAN.
`--split validation` judges on train images outside the subset, as many of each class: make every choice with it, on
other draws (`--first-draw`) than those that are reported. Several values of `--evened-out-share` use the same GAN.
Draws are added to a CSV as they finish, and a draw that is there for the same settings is not computed again.
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.draws import DrawSettings, DrawTable, add_draw_options
from benchmarks.protocol import Judge, balanced_held_out
from benchmarks.results import add_result
from data.base.randomness import numpy_stream
from data.images import LabelledImages
from data.regimes import LongTailedRegime, draw_subset
from data.sources.registry import load_source
from evaluation.arms import training_set
from evaluation.config import ArmName
from evaluation.metrics import measured, tail_classes
from evaluation.statistics import Gain, paired_gains, spread

REFERENCES: tuple[ArmName, ...] = ("real+classical", "class-weighted", "oversampled")
METRICS = {"macro_f1": "macro-F1", "tail_recall": "tail recall"}
COLUMNS = (
    "settings", "label", "split", "draw", "arm", "evened_out_share", "accuracy", "macro_f1", "tail_recall",
    "gan_seconds",
)  # fmt: skip
VALIDATION_IMAGES_PER_CLASS = 500
UNUSED_SHARES = (0.5, 0.5)  # no arm here adds images to each batch

Figures = Mapping[str, Sequence[float]]  # an arm's metric: one value per draw


def arm_rows(
    subset: LabelledImages, synthetic: LabelledImages, judge: Judge, *, shares: Sequence[float]
) -> list[dict[str, object]]:
    """Train and judge every arm of one draw; `evened-out` once for each of `shares`."""
    tail = tail_classes(subset.class_counts())
    planned: list[tuple[ArmName, float]] = [(arm, 1.0) for arm in REFERENCES]
    planned += [("evened-out", share) for share in shares]
    rows: list[dict[str, object]] = []
    for arm, share in planned:
        training = training_set(
            arm, subset=subset, synthetic=synthetic, deformation=judge.deformation, evened_out_share=share
        )
        metrics = measured(judge.predictions(judge.fit_to(training)), tail)
        rows.append({"arm": arm, "evened_out_share": share if arm == "evened-out" else "", **metrics})
    return rows


def best_reference(figures: Mapping[str, Figures], metric: str) -> str:
    """Return the reference arm with the best mean over all draws."""
    return max(REFERENCES, key=lambda arm: float(np.mean(figures[arm][metric])))


def gains_over_best(figures: Mapping[str, Figures]) -> dict[tuple[str, str], tuple[str, Gain]]:
    """Return (arm, metric) to the best reference and the paired gain over it in points, Holm-corrected together."""
    pairs = [(arm, metric) for arm in figures if arm not in REFERENCES for metric in METRICS]
    references = [best_reference(figures, metric) for _, metric in pairs]
    families = [
        [100 * (mine - theirs) for mine, theirs in zip(figures[arm][metric], figures[reference][metric], strict=True)]
        for (arm, metric), reference in zip(pairs, references, strict=True)
    ]
    gains = paired_gains(families, confidence=0.95, wished_gain=0.5)
    return dict(zip(pairs, zip(references, gains, strict=True), strict=True))


def figures_of(draws: Sequence[Sequence[Mapping[str, str]]]) -> dict[str, dict[str, list[float]]]:
    """Gather the CSV's rows, draw by draw: arm to metric to one value per draw."""
    figures: dict[str, dict[str, list[float]]] = {}
    for rows in draws:
        for row in rows:
            name = f"{row['arm']} {row['evened_out_share']}".strip()
            for metric in METRICS:
                figures.setdefault(name, {}).setdefault(metric, []).append(float(row[metric]))
    return figures


def told(where: str, figures: Mapping[str, Figures]) -> list[tuple[str, str]]:
    """Return the lines of the results table."""
    lines = []
    for arm, metrics in figures.items():
        for metric, title in METRICS.items():
            summary = spread([100 * value for value in metrics[metric]])
            sd = "" if summary.sd is None else f" (SD {summary.sd:.2f})"
            lines.append((f"{where}: {arm}, {title}", f"{summary.mean:.2f} %{sd}"))
    for (arm, metric), (reference, gain) in gains_over_best(figures).items():
        interval = gain.unavailable if gain.low is None else f"95 % interval {gain.low:+.2f} to {gain.high:+.2f}"
        what = f"{where}: {arm} over the best reference ({reference}), paired gain in {METRICS[metric]}, points"
        lines.append((what, f"{gain.mean:+.2f}, {interval}, {gain.verdict}"))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-max", type=int, default=500, help="images of the largest class")
    parser.add_argument(
        "--imbalance", type=float, default=100, help="images of the largest class per image of the least"
    )
    parser.add_argument("--evened-out-share", type=float, nargs="+", default=[1.0], help="most synthetic in a class")
    add_draw_options(parser, draws=20, csv_name="long_tail.csv")
    arguments = parser.parse_args()
    chosen = DrawSettings.of(arguments)
    regime = LongTailedRegime(arguments.n_max, arguments.imbalance)
    source = load_source("mnist")
    settings = chosen.digest(regime.name, arguments.evened_out_share)
    table = DrawTable(path=arguments.csv, columns=COLUMNS, settings=settings)
    for draw in chosen.draws:
        if draw in table.finished():
            continue
        subset = draw_subset(source.train, regime, rng=numpy_stream(draw, "split"))
        validation = balanced_held_out(
            source.train, without=subset, images_per_class=VALIDATION_IMAGES_PER_CLASS, seed=draw
        )
        judge = chosen.judge(draw, added_shares=UNUSED_SHARES, validation=validation, test=source.test)
        synthetic, gan_seconds = chosen.samples(subset, draw, images_per_class=arguments.n_max)
        common = {
            "label": arguments.label,
            "split": arguments.split,
            "draw": draw,
            "gan_seconds": round(gan_seconds, 1),
        }
        rows = [common | row for row in arm_rows(subset, synthetic, judge, shares=arguments.evened_out_share)]
        table.add(rows)
        print(*rows, sep="\n", flush=True)
    finished = table.finished()
    shown = [finished[draw] for draw in chosen.draws]
    where = f"{regime.title}, {len(shown)} draws from {chosen.draws[0]}, {arguments.split}"
    seconds = float(np.median([float(rows[0]["gan_seconds"]) for rows in shown]))
    figures = [*told(where, figures_of(shown)), (f"{where}: GAN training in s", f"{seconds:.0f} (median)")]
    add_result("long_tail", compute=chosen.compute, figures=figures)


if __name__ == "__main__":
    main()
