"""All that needs a GPU, in one command of at most ten minutes; each part adds its rows to RESULTS.md.

    make bench-gpu                              # or: python -m benchmarks.gpu
    python -m benchmarks.gpu --only tests cell  # parts of it

Parts: `tests` (what is skipped without a GPU), `throughput` (a GAN's training step against a plain one, compiled too),
`cell` (the headline pair of one replicate, then 20 replicates side by side on one GPU), `seeds` and `studies` (of these
few-labels). Nothing here needs Prefect. A part that fails does not keep the others from running; the exit code tells.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.results import add_result, median_and_range
from data.base.device import resolve_compute
from data.base.files import read_json
from evaluation.arms import HEADLINE_ARM, HEADLINE_REFERENCE
from evaluation.reporting.report import in_points, read_report
from evaluation.reporting.run_files import REPORT_JSON
from flows.study.config import resolve_config
from flows.study.running import run_study

PARTS = ("tests", "cell", "seeds", "studies", "throughput")
GPU_TESTS = (
    "tests/data/base/test_cuda_graphs.py",
    "tests/evaluation/test_classifiers.py",
    "tests/evaluation/test_consistency.py",
    "tests/gan/test_training_on_a_gpu.py",
)
PAIR = ("real", HEADLINE_REFERENCE, HEADLINE_ARM)
DRAWS = 20


def headline_pair(workers: int) -> None:
    """Time a replicate of the headline pair alone, and 20 side by side; "real" is with them, as in each study."""
    compute = resolve_compute(device="auto", precision="auto")
    with tempfile.TemporaryDirectory() as scratch:
        alone = _timed(Path(scratch) / "alone", replicates=4, workers=1)
        seconds = [cell_seconds(cell) for cell in sorted((Path(scratch) / "alone" / "cells").glob("*/*/cell.json"))]
        add_result(
            "gpu",
            compute=compute,
            figures=[
                ("headline pair, a cell alone, s, the first one apart", median_and_range(seconds[1:], digits=1)),
                ("headline pair, the first cell of a process, s", f"{seconds[0]:.1f}"),
                ("headline pair, 4 cells one after the other, wall s, imports apart", f"{alone:.0f}"),
            ],
        )
        together = _timed(Path(scratch) / "together", replicates=DRAWS, workers=workers)
        gain = read_report(Path(scratch) / "together" / REPORT_JSON).regimes[0].rivals[HEADLINE_REFERENCE]
        interval = (
            "too few" if gain.low is None or gain.high is None else f"{in_points(gain.low)} to {in_points(gain.high)}"
        )
        add_result(
            "gpu",
            compute=compute,
            figures=[
                (f"headline pair, {DRAWS} replicates, {workers} at a time, wall s with all imports", f"{together:.0f}"),
                (
                    f"headline pair, {DRAWS} validation draws: {HEADLINE_ARM} over {HEADLINE_REFERENCE}",
                    f"{in_points(gain.mean)} ({interval})",
                ),
            ],
        )


def _timed(run: Path, *, replicates: int, workers: int) -> float:
    config = resolve_config(
        preset_name="quick",
        file=None,
        options={
            "replicates": replicates,
            "first_replicate": 9000,
            "data.dataset": "mnist",
            "data.images_per_class": (10,),
            "data.judge_on": "validation",
            "evaluation.arms": PAIR,
        },
        assignments=[],
    )
    started = time.perf_counter()
    run_study(config, run, workers=workers)
    return time.perf_counter() - started


def cell_seconds(summary: Path) -> float:
    """Return how long the stages of a finished cell took together."""
    records = (read_json(record) for record in (summary.parent / "stages").glob("*.json"))
    return sum(float(record["cost"]["elapsed_seconds"]) for record in records)


def run_part(part: str, workers: int) -> bool:
    """Run a part, and say whether it succeeded."""
    python = [sys.executable, "-m"]
    commands: dict[str, list[list[str]]] = {
        "tests": [[*python, "pytest", "-q", "-p", "no:cacheprovider", "-rs", *GPU_TESTS]],
        "throughput": [
            [*python, "benchmarks.throughput", "--images", "60000"],
            [*python, "benchmarks.throughput", "--images", "100"],
            [*python, "benchmarks.throughput", "--images", "60000", "--gan", "compiled=true"],
        ],
        "cell": [[*python, "benchmarks.gpu", "--pair", "--workers", str(workers)]],
        "seeds": [[*python, "benchmarks.seeds", "--workers", str(workers)]],
        "studies": [[*python, "benchmarks.studies", "few-labels", "--workers", str(workers)]],
    }
    codes = [subprocess.run(command, check=False).returncode for command in commands[part]]  # each, whatever fails
    return not any(codes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--workers", type=int, default=8, help="cells at a time on the GPU")
    parser.add_argument("--pair", action="store_true", help="the part cell, in this process")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("this machine has no GPU that PyTorch can use")
    if arguments.pair:
        headline_pair(arguments.workers)
        return 0
    failed = [part for part in arguments.only if not run_part(part, arguments.workers)]
    print(f"failed: {', '.join(failed)}" if failed else "all parts ran")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
