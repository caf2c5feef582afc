"""The headline pair of one replicate: seconds of one core and what is gained, of an earlier version and of this one.

    git worktree add /tmp/earlier COMMIT      # one that has this benchmark
    python -m benchmarks.cell --earlier /tmp/earlier --draws 12 --first-draw 7000

A replicate is a GAN trained on its own subset of MNIST, its samples, and two classifiers each of real+classical and of
real+classical+synthetic. Both versions run the same draws in turns, each in a process of its own with one thread, so
that a busy machine slows both, and each with its own recipe (`--gan` and `--classifier` set this version's). Seconds
are the process's own, waiting not included. Judged on train images outside the subset, for it is there that recipes
are chosen; predictions are timed on 10,000 of them, as many as the test set has.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import torch
from scipy import stats

from benchmarks.protocol import Judge, held_out, overridden, trained_samples
from benchmarks.results import add_result, median_and_range
from data.base.device import resolve_compute
from data.base.randomness import numpy_stream
from data.config import DeformationConfig
from data.policies import policy_of
from data.regimes import BalancedRegime, draw_subset
from data.sources.registry import load_source
from evaluation.config import ClassifierConfig, TrainingConfig
from gan.config import GanConfig

SEEDS = 2  # classifiers of each arm
SYNTHETIC_PER_CLASS = 500
VALIDATION_IMAGES = 10_000


class Replicate(TypedDict):
    """What one replicate took, in seconds of one core, and gave, accuracies in % as means over the seeds."""

    gan_seconds: float
    fitting_seconds: float
    predicting_seconds: float
    reference: float
    arm: float


def replicate(draw: int, *, images_per_class: int, gan: Sequence[str], classifier: Sequence[str]) -> Replicate:
    """Run one replicate in this process; `gan` and `classifier` are KEY=VALUE changes to the default recipe."""
    torch.set_num_threads(1)
    compute = resolve_compute(device="cpu", precision="auto")
    train = load_source("mnist").train
    subset = draw_subset(train, BalancedRegime(images_per_class), rng=numpy_stream(draw, "split"))
    validation = held_out(train, without=subset, count=VALIDATION_IMAGES, seed=draw)
    started = time.process_time()
    synthetic, _ = trained_samples(
        subset,
        config=overridden(GanConfig(), gan),
        images_per_class=SYNTHETIC_PER_CLASS,
        seed=draw,
        compute=compute,
    )
    gan_seconds = time.process_time() - started
    fitting_seconds = predicting_seconds = 0.0
    accuracies: dict[bool, list[float]] = {False: [], True: []}  # by whether synthetic images were added
    for seed in range(SEEDS):
        judge = Judge(
            config=overridden(ClassifierConfig(), classifier),
            policy=policy_of("digits", digits=DeformationConfig()),
            added_shares=TrainingConfig().for_subset(len(subset), policy="digits").added_shares,
            judged_on=validation,
            seed=1000 * draw + seed,
            compute=compute,
        )
        for with_synthetic, answers in accuracies.items():
            started = time.process_time()
            fitted = judge.fit(subset, added=synthetic if with_synthetic else None, classical=True)
            between = time.process_time()
            answers.append(100 * judge.accuracy(fitted))
            fitting_seconds += between - started
            predicting_seconds += time.process_time() - between
    return Replicate(
        gan_seconds=gan_seconds,
        fitting_seconds=fitting_seconds,
        predicting_seconds=predicting_seconds,
        reference=statistics.mean(accuracies[False]),
        arm=statistics.mean(accuracies[True]),
    )


def replicate_of(version: Path, draw: int, arguments: argparse.Namespace, *, changed: bool) -> Replicate:
    """Run one replicate with the code of another checkout, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.cell",
        "--one",
        str(draw),
        "--images-per-class",
        str(arguments.images_per_class),
    ]
    if changed:
        for option in ("gan", "classifier"):
            command += [part for text in getattr(arguments, option) for part in (f"--{option}", text)]
    environment = os.environ | {"PYTHONPATH": str(version.resolve()), "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, env=environment, cwd=version, check=True, stdout=subprocess.PIPE, text=True)
    told: Replicate = json.loads(finished.stdout.splitlines()[-1])
    return told


def total_seconds(row: Replicate) -> float:
    """Return what a replicate took in all."""
    return row["gan_seconds"] + row["fitting_seconds"] + row["predicting_seconds"]


def figures_of(rows: Mapping[str, Sequence[Replicate]]) -> list[tuple[str, str]]:
    """Return the lines of the results table: each version's own, and with two of them how they compare."""
    figures = []
    gains = {name: [row["arm"] - row["reference"] for row in own] for name, own in rows.items()}
    differences = dict(gains)
    if len(rows) > 1:
        here, earlier = gains["this version"], gains["earlier"]
        differences["this version's gain over the earlier one's"] = [a - b for a, b in zip(here, earlier, strict=True)]
    for name, own in rows.items():
        spent = {
            "GAN": [row["gan_seconds"] for row in own],
            "fitting": [row["fitting_seconds"] for row in own],
            "predicting": [row["predicting_seconds"] for row in own],
        }
        parts = ", ".join(f"{part} {statistics.median(each):.1f}" for part, each in spent.items())
        seconds = median_and_range([total_seconds(row) for row in own], digits=1)
        figures.append((f"{name}: seconds of one core a replicate", f"{seconds}; {parts}"))
        figures.append((f"{name}: real+classical", f"{statistics.mean(row['reference'] for row in own):.2f} %"))
        figures.append((f"{name}: real+classical+synthetic", f"{statistics.mean(row['arm'] for row in own):.2f} %"))
    for name, values in differences.items():
        what = name if name not in rows else f"{name}: paired gain"
        interval = "no interval"
        if len(values) > 1:
            low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
            interval = f"95 % interval {low:+.2f} to {high:+.2f}"
        figures.append((f"{what} in points, {len(values)} draws", f"{statistics.mean(values):+.2f}, {interval}"))
    if len(rows) > 1:
        ratios = [
            total_seconds(a) / total_seconds(b) for a, b in zip(rows["earlier"], rows["this version"], strict=True)
        ]
        figures.append(("earlier over this version, seconds", median_and_range(ratios, digits=2)))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images-per-class", type=int, default=10)
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--first-draw", type=int, default=7000)
    parser.add_argument("--earlier", type=Path, help="a checkout of the version to compare with")
    parser.add_argument("--gan", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--classifier", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--one", type=int, metavar="DRAW", help="run one draw and print its figures as JSON")
    arguments = parser.parse_args()
    if arguments.one is not None:
        row = replicate(
            arguments.one,
            images_per_class=arguments.images_per_class,
            gan=arguments.gan,
            classifier=arguments.classifier,
        )
        print(json.dumps(row))
        return
    versions = {"this version": Path(__file__).parent.parent}
    if arguments.earlier is not None:
        versions["earlier"] = arguments.earlier
    rows: dict[str, list[Replicate]] = {name: [] for name in versions}
    for draw in range(arguments.first_draw, arguments.first_draw + arguments.draws):
        for name, version in versions.items():
            rows[name].append(replicate_of(version, draw, arguments, changed=name == "this version"))
            print(
                draw,
                name,
                json.dumps({key: round(float(str(value)), 2) for key, value in rows[name][-1].items()}),
                flush=True,
            )
    torch.set_num_threads(1)  # what the table says of the machine: each process had one
    add_result("cell", compute=resolve_compute(device="cpu", precision="auto"), figures=figures_of(rows))


if __name__ == "__main__":
    main()
