"""The gain of real+classical+synthetic over real+classical when labelled images are few, paired over draws.

    python -m benchmarks.few_data --images-per-class 10 --draws 20 --split test

Each draw takes its own subset of MNIST, trains the GAN on it alone, and both arms with the same number of optimiser
steps. `--split validation` judges on train images outside the subset: make every choice with it, on other draws
(`--first-draw`) than those that are reported. Draws are added to a CSV as they finish, and a draw that is there for
the same settings is not computed again.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
from filelock import FileLock

from benchmarks.protocol import Judge, held_out, overridden, samples_of
from benchmarks.results import add_result
from data.augmentation import DeformationConfig
from data.device import resolve_compute
from data.files import digest_json
from data.randomness import numpy_stream
from data.regimes import BalancedRegime, draw_subset
from data.sources import load_source
from evaluation.config import ClassifierConfig
from evaluation.statistics import paired_gains, spread
from gan.checkpoint import load_generator
from gan.config import GanConfig
from gan.training import train

COLUMNS = (
    "settings", "label", "split", "images_per_class", "draw", "classical", "classical_synthetic", "synthetic",
    "synthetic_deformed", "gan_seconds",
)  # fmt: skip
VALIDATION_IMAGES = 5000


def read_draws(path: Path, settings: str) -> dict[int, dict[str, str]]:
    """Return the finished draws of these settings."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        return {int(row["draw"]): row for row in csv.DictReader(stream) if row["settings"] == settings}


def append_draw(path: Path, row: dict[str, object]) -> None:
    """Add one row, whole, whoever else writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images-per-class", type=int, default=10)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first-draw", type=int, default=0)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--label", default="default", help="what the CSV calls these settings")
    parser.add_argument("--gan", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--classifier", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--deformation", action="append", default=[], metavar="KEY=VALUE", help="of the classical arms")
    parser.add_argument("--added-share", type=float, default=0.5)
    parser.add_argument("--synthetic-per-class", type=int, default=500)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "few_data.csv")
    arguments = parser.parse_args()
    compute = resolve_compute(device="auto", precision="auto")
    gan = overridden(GanConfig(), arguments.gan)
    classifier = overridden(ClassifierConfig(), arguments.classifier)
    deformation = overridden(DeformationConfig(), arguments.deformation)
    source = load_source("mnist")
    settings = digest_json(
        [
            gan.model_dump(), classifier.model_dump(), deformation.model_dump(), arguments.added_share,
            arguments.synthetic_per_class, arguments.images_per_class, arguments.split, compute.as_dict(),
        ]
    )[:12]  # fmt: skip
    draws = range(arguments.first_draw, arguments.first_draw + arguments.draws)
    for draw in draws:
        if draw in read_draws(arguments.csv, settings):
            continue
        regime = BalancedRegime(arguments.images_per_class)
        subset = draw_subset(source.train, regime, rng=numpy_stream(draw, "split"))
        validation = held_out(source.train, without=subset, count=VALIDATION_IMAGES, seed=draw)
        judge = Judge(
            config=classifier,
            deformation=deformation,
            added_share=arguments.added_share,
            judged_on=source.test if arguments.split == "test" else validation,
            seed=draw,
            compute=compute,
        )
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            train(subset, Path(folder), config=gan, seed=draw, compute=compute, on_progress=lambda _: None)
            generator, class_names = load_generator(Path(folder) / "generator.safetensors")
        gan_seconds = time.monotonic() - started
        synthetic = samples_of(
            generator,
            images_per_class=arguments.synthetic_per_class,
            class_names=class_names,
            seed=draw,
            compute=compute,
        )
        row = {
            "settings": settings,
            "label": arguments.label,
            "split": arguments.split,
            "images_per_class": arguments.images_per_class,
            "draw": draw,
            "classical": judge.accuracy(judge.fit(subset, classical=True)),
            "classical_synthetic": judge.accuracy(judge.fit(subset, added=synthetic, classical=True)),
            "synthetic": judge.accuracy(judge.fit(synthetic, classical=False)),
            "synthetic_deformed": judge.accuracy(judge.fit(synthetic, classical=True)),
            "gan_seconds": round(gan_seconds, 1),
        }
        append_draw(arguments.csv, row)
        print(row, flush=True)
    finished = read_draws(arguments.csv, settings)
    rows = [finished[draw] for draw in draws]
    gains = [100 * (float(row["classical_synthetic"]) - float(row["classical"])) for row in rows]
    (gain,) = paired_gains([gains], confidence=0.95)
    interval = gain.unavailable if gain.low is None else f"95 % interval {gain.low:+.2f} to {gain.high:+.2f}"

    def percent(column: str) -> str:
        summary = spread([100 * float(row[column]) for row in rows])
        return f"{summary.mean:.2f} %" + ("" if summary.sd is None else f" (SD {summary.sd:.2f})")

    where = f"{arguments.images_per_class} per class, {len(rows)} draws from {draws[0]}, {arguments.split}"
    figures = [
        (f"{where}: real+classical", percent("classical")),
        (f"{where}: real+classical+synthetic", percent("classical_synthetic")),
        (f"{where}: synthetic alone (TSTR)", percent("synthetic")),
        (f"{where}: synthetic alone, deformed in training", percent("synthetic_deformed")),
        (f"{where}: paired gain in points", f"{gain.mean:+.2f}, {interval}, {gain.verdict}"),
        (f"{where}: GAN training in s", f"{np.median([float(row['gan_seconds']) for row in rows]):.0f} (median)"),
    ]
    add_result("few_data", compute=compute, figures=figures)


if __name__ == "__main__":
    main()
