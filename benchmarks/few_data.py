"""The gain of real+classical+synthetic over real+classical when labelled images are few, paired over draws.

    python -m benchmarks.few_data --images-per-class 10 50 100 --draws 20 --split test

Each draw takes its own subset of MNIST, trains the GAN on it alone, and both arms with the same number of optimiser
steps. `--split validation` judges on train images outside the subset: make every choice with it, on other draws
(`--first-draw`) than those that are reported. Draws are added to a CSV as they finish, and a draw that is there for
the same settings is not computed again. Several regimes in one call share the correction of their verdicts (Holm).
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.draws import DrawSettings, DrawTable, TableRow, add_draw_options
from benchmarks.protocol import held_out
from benchmarks.results import add_result
from data.base.randomness import numpy_stream
from data.regimes import BalancedRegime, draw_subset
from data.sources.registry import load_source
from evaluation.config import EvaluationConfig
from evaluation.statistics import Gain, paired_gains, spread

COLUMNS = (
    "settings", "label", "split", "images_per_class", "draw", "classical", "classical_synthetic", "synthetic_classical",
    "gan_seconds",
)  # fmt: skip
VALIDATION_IMAGES = 5000
NUM_CLASSES = 10


def draw_row(
    chosen: DrawSettings,
    arguments: argparse.Namespace,
    *,
    images_per_class: int,
    shares: tuple[float, float],
    draw: int,
) -> TableRow:
    """Train the GAN and the arms of one draw."""
    source = load_source("mnist")
    subset = draw_subset(source.train, BalancedRegime(images_per_class), rng=numpy_stream(draw, "split"))
    validation = held_out(source.train, without=subset, count=VALIDATION_IMAGES, seed=draw)
    judge = chosen.judge(draw, added_shares=shares, validation=validation, test=source.test)
    synthetic, gan_seconds = chosen.samples(subset, draw, images_per_class=arguments.synthetic_per_class)
    return {
        "label": arguments.label,
        "split": arguments.split,
        "images_per_class": images_per_class,
        "draw": draw,
        "classical": judge.accuracy(judge.fit(subset, classical=True)),
        "classical_synthetic": judge.accuracy(judge.fit(subset, added=synthetic, classical=True)),
        "synthetic_classical": judge.accuracy(judge.fit(synthetic, classical=True)),
        "gan_seconds": round(gan_seconds, 1),
    }


def regime_figures(where: str, rows: Sequence[Mapping[str, str]], gain: Gain) -> list[tuple[str, str]]:
    """Return the lines that tell of one regime."""

    def percent(column: str) -> str:
        summary = spread([100 * float(row[column]) for row in rows])
        return f"{summary.mean:.2f} %" + ("" if summary.sd is None else f" (SD {summary.sd:.2f})")

    interval = gain.unavailable if gain.low is None else f"95 % interval {gain.low:+.2f} to {gain.high:+.2f}"
    return [
        (f"{where}: real+classical", percent("classical")),
        (f"{where}: real+classical+synthetic", percent("classical_synthetic")),
        (f"{where}: synthetic+classical (TSTR, deformed in training)", percent("synthetic_classical")),
        (f"{where}: paired gain in points", f"{gain.mean:+.2f}, {interval}, {gain.verdict}"),
        (f"{where}: GAN training in s", f"{np.median([float(row['gan_seconds']) for row in rows]):.0f} (median)"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images-per-class", type=int, nargs="+", default=[10])
    parser.add_argument("--added-shares", type=float, nargs=2, metavar=("FIRST", "LAST"), help="default: the study's")
    parser.add_argument("--synthetic-per-class", type=int, default=500)
    add_draw_options(parser, draws=20, csv_name="few_data.csv")
    arguments = parser.parse_args()
    chosen = DrawSettings.of(arguments)
    regimes: list[list[dict[str, str]]] = []
    for images_per_class in arguments.images_per_class:
        shares = tuple(arguments.added_shares or EvaluationConfig().added_shares(images_per_class * NUM_CLASSES))
        settings = chosen.digest(shares, arguments.synthetic_per_class, images_per_class)
        table = DrawTable(path=arguments.csv, columns=COLUMNS, settings=settings)
        for draw in chosen.draws:
            if draw not in table.finished():
                row = draw_row(chosen, arguments, images_per_class=images_per_class, shares=shares, draw=draw)
                table.add([row])
                print(row, flush=True)
        regimes.append([table.finished()[draw][0] for draw in chosen.draws])
    gains = [[100 * (float(row["classical_synthetic"]) - float(row["classical"])) for row in rows] for rows in regimes]
    figures: list[tuple[str, str]] = []
    for number, rows, gain in zip(
        arguments.images_per_class, regimes, paired_gains(gains, confidence=0.95), strict=True
    ):
        where = f"{number} per class, {len(rows)} draws from {chosen.draws[0]}, {arguments.split}"
        figures += regime_figures(where, rows, gain)
    add_result("few_data", compute=chosen.compute, figures=figures)


if __name__ == "__main__":
    main()
