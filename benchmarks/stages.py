"""What each stage of a study's cell costs in processor time: where a saving is worth the trouble.

    git worktree add /tmp/earlier COMMIT
    python -m benchmarks.stages --earlier /tmp/earlier --only policy samples

A cell of the default study of MNIST, stage by stage, in a process of its own with one thread; with `--earlier` the
same cell by the code of another checkout in turn, so that a busy machine slows both: only then do two versions compare.
What a stage imports at its first use counts as its own. The instrument may be left from a run before.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.results import add_result, median_and_range
from data.base.device import resolve_compute
from flows.study.config import resolve_config
from flows.study.designs import resolve_study, study_source
from flows.study.job import unheard
from flows.study.run_directory import study_cells
from flows.study.running import context_of
from flows.study.stages.table import stages_of

NEEDED = ("subset", "policy", "generator", "synthetic")  # by the stages after them
GROUPS = {"arm": "all arms"}


def seconds_of_stages(only: Sequence[str], *, replicate: int, settings: Sequence[str]) -> dict[str, float]:
    """Run a cell's stages in this process, those of `only` and what these need; return their processor seconds.

    Args:
        only: names of stages; empty: all of them.
    """
    torch.set_num_threads(1)
    options = {"data.dataset": "mnist", "first_replicate": replicate, "replicates": 1}
    config = resolve_config(preset_name="quick", file=None, options=options, assignments=settings)
    config = resolve_study(config, study_source(config.data))
    compute = resolve_compute(device="cpu", precision="auto")
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as directory:
        cell = study_cells(config, Path(directory))[0]
        for stage in stages_of(context_of(cell, config, compute)):
            name = stage.kind.name
            if only and name not in (*only, *NEEDED):
                continue
            started = time.process_time()
            stage.run(unheard)
            seconds[GROUPS.get(name, name)] = seconds.get(GROUPS.get(name, name), 0.0) + time.process_time() - started
    return seconds


def of_version(version: Path, arguments: argparse.Namespace, replicate: int) -> dict[str, float]:
    """Run a cell with the code of a checkout and this file, in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--one", str(replicate)]
    command += ["--only", *arguments.only] if arguments.only else []
    for setting in arguments.set:
        command += ["--set", setting]
    environment = os.environ | {"PYTHONPATH": str(version.resolve()), "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, env=environment, cwd=version, check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return told


def figures_of(rows: dict[str, list[dict[str, float]]]) -> list[tuple[str, str]]:
    """Return the lines of the results table: seconds of each stage and version, and their ratio where there are two."""
    figures = []
    for stage in rows["this version"][0]:
        own = {version: [row[stage] for row in cells if stage in row] for version, cells in rows.items()}
        told = ", ".join(
            f"{version} {median_and_range(values, digits=1)} s" for version, values in own.items() if values
        )
        if len(own) > 1 and all(own.values()):
            ratios = [before / now for before, now in zip(own["earlier"], own["this version"], strict=True) if now > 0]
            told += f"; {statistics.median(ratios):.1f} times quicker" if ratios else ""
        figures.append((f"stage {stage} of a cell, processor time", told))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--earlier", type=Path, help="a checkout of the version to compare with")
    parser.add_argument("--only", nargs="*", default=[], help="stages; those before them are run and told as well")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of augment run")
    parser.add_argument("--one", type=int, metavar="REPLICATE", help="run one cell and print its seconds as JSON")
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(seconds_of_stages(arguments.only, replicate=arguments.one, settings=arguments.set)))
        return
    versions = {} if arguments.earlier is None else {"earlier": arguments.earlier}
    versions["this version"] = Path(__file__).parent.parent
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in versions}
    for replicate in range(arguments.cells):
        for name, version in versions.items():
            rows[name].append(of_version(version, arguments, replicate))
            print(replicate, name, {stage: round(value, 1) for stage, value in rows[name][-1].items()}, flush=True)
    torch.set_num_threads(1)  # what the table says of the machine: each process had one
    add_result("stages", compute=resolve_compute(device="cpu", precision="auto"), figures=figures_of(rows))


if __name__ == "__main__":
    main()
