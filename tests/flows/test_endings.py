"""A study's process ends after its last line, whatever worker was killed, and wherever."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flows.study.config import resolve_config, to_toml
from flows.study.store import RunStore
from tests.flows.interrupting import FIRST_GRID, Interruption
from tests.flows.reports import figures
from tests.smallest import SMALLEST
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


MOMENTS = (  # no more than two for each cell: three losses in a row end a study
    "0/subset.parquet",
    "features/*.safetensors",  # the measuring instrument, which the first cell makes
    "1/policy.json",
    "1/labelling/images.parquet",
    f"2/{FIRST_GRID}",
    "2/stages/generator.json",
    "3/synthetic",  # a folder that is complete when it gets its name
    "3/samples/evaluation.json",
    "4/arms/real+classical/predictions.parquet",
    "4/cell.json",
)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The smallest study of five cells that have every kind of stage."""
    options = SMALLEST | {
        "replicates": 5,
        "data.dataset": "digits",
        "data.unlabelled": "pool",
        "data.max_unlabelled": 20,
        "gan.steps": 12,
        "gan.grid_every": 6,
        "gan.checkpoint_every": 3,
        "evaluation.pseudo_labels.rounds": 1,
        "evaluation.consistency.ratio": 1,
    }
    file = tmp_path / "study.toml"
    file.write_text(to_toml(resolve_config(preset_name="quick", file=None, options=options, assignments=[])))
    return file


@pytest.mark.timeout(2400)
@pytest.mark.long
def test_study_ends_the_same_after_a_worker_was_killed_in_each_kind_of_stage(
    augment, study: Path, tmp_path: Path, bucket: str, prefect_api: str
) -> None:
    """In a process of this machine, and of four on Dask that share only a store."""
    pytest.importorskip("distributed")
    found = []
    for runner, workers, location in (("processes", 1, str(tmp_path / "run")), ("dask", 4, f"{bucket}/killed")):
        folder = tmp_path / runner
        killed = Interruption(folder=folder / "interruption", before=MOMENTS, kill=True)
        scratch = tempfile.mkdtemp()  # not below tmp_path: sockets lie in it, and their paths must be short
        ended = augment(
            "run",
            study,
            "--run-dir",
            location,
            "--runner",
            runner,
            "--workers",
            str(workers),
            environment={**killed.environment(), "XDG_CACHE_HOME": str(folder), "TMPDIR": scratch},
        )
        shutil.rmtree(scratch)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert killed.not_reached() == ()
        with RunStore(location).fetched("report.json") as directory:
            found.append(figures(directory))
    assert found[0] == found[1]
