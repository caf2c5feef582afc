"""A run that is killed for real (SIGKILL), again and again, ends with the report of an undisturbed one."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from evaluation.reporting.report import read_report
from flows.study.config import StudyConfig
from flows.study.run_directory import Cell, study_cells


class Command(Protocol):
    def command(self, *arguments: str | Path) -> list[str]: ...
    def __call__(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]": ...


def kill_when(condition: Callable[[], bool], command: list[str]) -> bool:
    """Start `command` and kill it as soon as `condition` holds; return whether it was killed before it ended."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    give_up = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < give_up:
        if condition():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.001)
    process.kill()
    process.wait()
    return False


def moments(cell: Cell) -> dict[str, Callable[[], bool]]:
    """Return the moments at which a run is killed; test_faults.py adds twenty random ones."""
    return {
        "GAN training": (cell.generator_directory / "state.safetensors").exists,
        "samples": lambda: bool(list(cell.directory.glob(".synthetic*"))) or cell.synthetic_directory.exists(),
        "first arm": cell.predictions_file("real").exists,
        "cell": cell.summary_file.exists,
    }


def test_killed_run_ends_with_the_same_report(
    augment: Command, tiny: StudyConfig, tiny_toml: Path, tmp_path: Path, expected: dict[str, object]
) -> None:
    run = tmp_path / "killed"
    first_cell = study_cells(tiny, run)[0]
    killed = []
    for name, moment in moments(first_cell).items():
        arguments = (
            ["run", "--resume", run, "--runner", "sequential"]
            if (run / "config.toml").exists()
            else ["run", tiny_toml, "--run-dir", run]
        )
        if kill_when(moment, augment.command(*arguments)):
            killed.append(name)
    assert "GAN training" in killed
    assert len(killed) >= 3
    finished = augment("run", "--resume", run, "--runner", "sequential")
    assert finished.returncode == 0, finished.stderr
    assert read_report(run / "report.json").model_dump(exclude={"timings"}) == expected
