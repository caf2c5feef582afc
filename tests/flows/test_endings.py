"""A study's process ends after its last line, whatever worker was killed, and wherever."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.interrupting import FIRST_GRID, Interruption
from tests.flows.reports import figures
from tests.waiting import PATIENCE_SECONDS

KILLED_WHILE_WRITING = """
import gc, multiprocessing.queues, os, signal, sys
from pathlib import Path
from prefect import flow, task
from flows.runners import run_tasks
from flows.study.config import RunnerConfig

@task(persist_result=False)
def work(marker: str, number: int) -> int:
    if not Path(marker).exists():
        Path(marker).touch()
        queues = [each for each in gc.get_objects() if type(each) is multiprocessing.queues.Queue]
        assert queues
        for queue in queues:
            queue._wlock.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    return number

@flow(persist_result=False)
def work_all(marker: str) -> None:
    found = []
    runner = RunnerConfig(kind="processes")
    calls = [{"marker": marker, "number": number} for number in range(2)]
    run_tasks(work, calls, runner=runner, workers=1, on_result=found.append, on_wait=lambda: None)
    assert sorted(found) == [0, 1]

if __name__ == "__main__":
    work_all(sys.argv[1])
    print("last line", flush=True)
"""


@pytest.mark.long
def test_worker_that_is_killed_while_it_writes_to_the_queue_does_not_hold_up_the_exit(
    tmp_path: Path, prefect_api: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(KILLED_WHILE_WRITING)
    with subprocess.Popen([sys.executable, script, tmp_path / "marker"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "last line" in process.stdout.read()
            assert process.wait(timeout=PATIENCE_SECONDS) == 0
        finally:
            process.kill()


@pytest.mark.long
def test_study_ends_after_workers_were_killed_in_each_kind_of_stage(
    augment, tiny_toml: Path, tmp_path: Path, prefect_api: str, expected: dict[str, object]
) -> None:
    """In training, in an arm, before what was trained is recorded, and before what was judged is: two for each cell."""
    moments = (f"0/{FIRST_GRID}", "0/arms/real+classical/*.parquet", "1/stages/generator.json", "1/stages/samples.json")
    killed = Interruption(folder=tmp_path / "interruption", before=moments, kill=True)
    arguments = ("run", tiny_toml, "--run-dir", tmp_path / "run", "--runner", "processes", "--workers", "1")
    ended = augment(*arguments, environment=killed.environment())
    assert killed.reached()
    assert ended.returncode == 0, ended.stderr
    assert "report: " in ended.stdout
    assert figures(tmp_path / "run") == expected
