"""A study's process ends within seconds of its last line, whatever worker was killed, and wherever."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from flows.study.config import StudyConfig
from flows.study.run_directory import Cell, study_cells
from tests.flows.reports import figures

END_SECONDS = 60  # for a slow machine; what this is about lasts for ever

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


def test_worker_that_is_killed_while_it_writes_to_the_queue_does_not_hold_up_the_exit(
    tmp_path: Path, prefect_api: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(KILLED_WHILE_WRITING)
    with subprocess.Popen([sys.executable, script, tmp_path / "marker"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "last line" in process.stdout.read()
            assert process.wait(timeout=END_SECONDS) == 0
        finally:
            process.kill()


def moments(cell: Cell) -> list[Callable[[], bool]]:
    """Return when workers are killed: in GAN training, and between the arms."""
    return [(cell.generator_directory / "state.safetensors").exists, cell.predictions_file("real").exists]


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    found = []
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_study_ends_after_workers_were_killed_in_several_stages(
    augment, tiny: StudyConfig, tiny_toml: Path, tmp_path: Path, prefect_api: str, expected: dict[str, object]
) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    command = augment.command("run", tiny_toml, "--run-dir", run, "--runner", "processes", "--workers", "1")
    give_up = time.monotonic() + 200
    with log.open("w") as output, psutil.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            for reached in moments(study_cells(tiny, run)[0]):
                while not (reached() and workers_of(process)) and time.monotonic() < give_up:
                    time.sleep(0.002)
                for worker in workers_of(process):
                    worker.send_signal(signal.SIGKILL)
            while "report: " not in log.read_text() and process.poll() is None and time.monotonic() < give_up:
                time.sleep(0.05)
            assert process.wait(timeout=END_SECONDS) == 0, log.read_text()
        finally:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    assert figures(run) == expected
