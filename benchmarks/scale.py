"""Cells per minute against workers, the efficiency at each number, and Prefect's share of a study's time.

    python -m benchmarks.scale --workers 1 2 --repeats 3

Each worker is a process that computes with one thread; one worker is the study's own process. A worker's start (a few
seconds of imports) and the report count in `cells a minute`, and not in the efficiency, which goes by the time from the
first stage's start to the last one's end: the rate of n workers over n times the rate of one. The time between the
stages of the sequential run is Prefect's, and that of small files.

What no scheduler can beat is measured beside it: as many GAN trainings at once, in processes that know nothing of each
other, against one alone. Cores share caches and memory, so that this too may stay below 1.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import torch

from benchmarks.results import add_result, median_and_range
from data.base.device import resolve_compute
from data.base.files import read_json
from data.base.randomness import numpy_stream
from data.regimes import BalancedRegime, draw_subset
from data.sources.registry import load_source
from flows.augmentation_study import augmentation_study
from flows.commands.console import silence_prefect_console
from flows.server import study_server
from flows.study.config import RunnerConfig, StudyConfig, resolve_config
from flows.study.engine import stage_timings
from flows.study.run_directory import study_cells
from flows.study.stages.table import stage_weights
from gan.config import GanConfig
from gan.training import Training

CEILING_STEPS = 200


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One study: seconds in all, from its first stage's start to its last one's end, and inside its stages."""

    num_cells: int
    elapsed_seconds: float
    working_seconds: float
    stage_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--set", action="append", default=[], dest="assignments", help="configuration over `quick`")
    arguments = parser.parse_args()
    assignments = [*arguments.assignments, f"compute.threads={arguments.threads}"]
    config = resolve_config(preset_name="quick", file=None, options={}, assignments=assignments)
    with study_server():
        silence_prefect_console()
        measured: dict[int, list[Measurement]] = {workers: [] for workers in arguments.workers}
        for _ in range(arguments.repeats):  # in turn, so that a machine whose speed drifts is fair to all
            for workers in arguments.workers:
                measured[workers].append(measure(config, workers=workers))
    ceilings = {
        workers: [
            trainings_at_once(1, steps=CEILING_STEPS) / trainings_at_once(workers, steps=CEILING_STEPS)
            for _ in range(arguments.repeats)
        ]
        for workers in arguments.workers
        if workers > 1
    }
    torch.set_num_threads(arguments.threads)  # as in the workers: the table names it
    compute = resolve_compute(device=config.compute.device, precision=config.compute.precision)
    add_result("scale", compute=compute, figures=scale_figures(measured, ceilings))


def measure(config: StudyConfig, *, workers: int) -> Measurement:
    """Run the study in a new directory; one worker is the study's own process."""
    runner = RunnerConfig(kind="sequential") if workers == 1 else RunnerConfig(kind="processes", workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        started = time.perf_counter()
        augmentation_study(config, run, runner=runner)
        elapsed_seconds = time.perf_counter() - started
        cells = study_cells(config, run)
        ends = [path.stat().st_mtime for path in run.glob("cells/*/*/stages/*.json")]
        starts = [
            path.stat().st_mtime - float(read_json(path)["cost"]["elapsed_seconds"])
            for path in run.glob("cells/*/*/stages/subset.json")
        ]
        return Measurement(
            num_cells=len(cells),
            elapsed_seconds=elapsed_seconds,
            working_seconds=max(ends) - min(starts),
            stage_seconds=sum(
                cost.elapsed_seconds
                for cell in cells
                for cost in stage_timings(cell, names=stage_weights(config, cell.regime.name)).values()
            ),
        )


def trainings_at_once(workers: int, *, steps: int) -> float:
    """Return the mean seconds of `workers` GAN trainings at once, each in its own process with one thread."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(workers, mp_context=context) as pool:
        together = manager.Barrier(workers)
        return statistics.mean(pool.map(time_training, [steps] * workers, [together] * workers))


def time_training(steps: int, together: Barrier) -> float:
    """Return the seconds of some GAN steps on 1,000 images of MNIST, started when all others are ready."""
    torch.set_num_threads(1)
    subset = draw_subset(load_source("mnist").train, BalancedRegime(100), rng=numpy_stream(0, "split"))
    config = GanConfig().for_subset(len(subset), image_shape=subset.shape)
    compute = resolve_compute(device="cpu", precision="auto")
    step = Training(subset, config=config, seed=0, compute=compute).step
    step()
    together.wait()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return time.perf_counter() - started


def scale_figures(measured: dict[int, list[Measurement]], ceilings: dict[int, list[float]]) -> list[tuple[str, str]]:
    """Return what was measured and its figure: median, and smallest to largest."""
    figures = []

    def add(what: str, values: Sequence[float]) -> None:
        figures.append((what, median_and_range(values, digits=2)))

    first = min(measured)
    base = [run.num_cells / run.working_seconds / first for run in measured[first]]
    for workers, runs in measured.items():
        add(f"{workers} workers, cells a minute", [60 * run.num_cells / run.elapsed_seconds for run in runs])
        rates = [run.num_cells / run.working_seconds for run in runs]
        efficiencies = [rate / workers / alone for rate, alone in zip(rates, base, strict=True)]
        add(f"{workers} workers, efficiency", efficiencies)
        if workers in ceilings:
            add(f"{workers} workers, ceiling: independent trainings at once", ceilings[workers])
    if 1 in measured:
        shares = [100 * (1 - run.stage_seconds / run.working_seconds) for run in measured[1]]
        add("time between stages (Prefect, files), % of the cells' time", shares)
        around = [100 * (1 - run.stage_seconds / run.elapsed_seconds) for run in measured[1]]
        add(
            "all time outside of stages (the same, first questions to the server, report), % of the study's time",
            around,
        )
    return figures


if __name__ == "__main__":
    main()
