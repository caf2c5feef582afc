"""A run that is killed for real (SIGKILL) and asked to go on ends with the report of an undisturbed one."""

import signal
from pathlib import Path

import pytest

from tests.flows.interrupting import FIRST_GRID, Interruption
from tests.flows.reports import figures


@pytest.mark.long
def test_killed_run_ends_with_the_same_report(
    augment, tiny_toml: Path, tmp_path: Path, prefect_api: str, expected: dict[str, object]
) -> None:
    """test_faults.py kills in every stage."""
    run = tmp_path / "killed"
    killed = Interruption(folder=tmp_path / "interruption", before=(FIRST_GRID,), kill=True)
    assert augment("run", tiny_toml, "--run-dir", run, environment=killed.environment()).returncode == -signal.SIGKILL
    assert list(run.glob("cells/*/0/generator/state.safetensors"))
    finished = augment("run", "--resume", run, "--runner", "sequential")
    assert finished.returncode == 0, finished.stderr
    assert figures(run) == expected
