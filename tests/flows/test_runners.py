"""Every runner gives the same report; a lost worker costs time, not the study."""

import os
import pickle
import shutil
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from data.base.device import Compute
from data.base.errors import AugmentError, UsageError
from data.base.plugins import allowance
from flows.augmentation_study import augmentation_study, run_cell_task
from flows.progress import SERVER_ERRORS
from flows.runners import run_tasks
from flows.server import child_process
from flows.study.cells import CellPlace
from flows.study.config import ComputeConfig, RunnerConfig, StudyConfig, resolve_runner
from flows.study.stages.table import stage_weights
from flows.study.store import store_of
from flows.study.watching import StageUpdate, listening
from tests.flows.interrupting import FIRST_GRID, Interruption
from tests.flows.reports import figures
from tests.waiting import PATIENCE_SECONDS, wait_until


class Recorder:
    """Collects which stages a watcher is told of."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []
        self.details: list[str] = []

    def update(self, update: StageUpdate) -> None:
        pass

    def finished(self, update: StageUpdate, *, skipped: bool) -> None:
        self.ended.append((update.cell, update.stage))
        self.details.append(update.detail)


@pytest.fixture
def killed_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Interruption]:
    """Of the processes that the test starts, the first one to be in the middle of a training kills itself.

    They are forked from a process of the test's own: the hook is installed where one starts.
    """
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    interruption = Interruption(folder=tmp_path / "interruption", before=(FIRST_GRID,), kill=True)
    for name, value in interruption.environment().items():
        monkeypatch.setenv(name, value)
    yield interruption
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for_workers(address: str) -> None:
    """Wait until a Dask scheduler answers and has a worker."""
    import distributed

    with distributed.Client(address, timeout=PATIENCE_SECONDS, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=PATIENCE_SECONDS)


@pytest.mark.long
def test_threads_give_the_same_report(tiny: StudyConfig, tmp_path: Path, expected: dict[str, object]) -> None:
    augmentation_study(tiny, tmp_path / "run", runner=RunnerConfig(kind="threads", workers=2))
    assert figures(tmp_path / "run") == expected


@pytest.mark.long
def test_processes_survive_a_lost_worker_and_tell_of_every_stage(
    tiny: StudyConfig, tmp_path: Path, expected: dict[str, object], killed_worker: Interruption
) -> None:
    recorder = Recorder()
    with listening(recorder):
        augmentation_study(tiny, tmp_path / "run", runner=RunnerConfig(kind="processes", workers=1))
    assert killed_worker.reached()
    assert figures(tmp_path / "run") == expected
    assert sorted(recorder.ended) == sorted(
        (f"balanced-10/{n}", stage) for n in (0, 1) for stage in stage_weights(tiny, "balanced-10")
    )
    assert any("accuracy" in detail for detail in recorder.details)


@pytest.mark.long
def test_study_whose_dask_cluster_lost_all_workers_stops_and_goes_on_when_asked(
    tiny: StudyConfig, tmp_path: Path, expected: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("flows.runners.DASK_WORKERLESS_SECONDS", 3.0)
    location = tmp_path / "run"
    killed = Interruption(folder=tmp_path / "interruption", before=(FIRST_GRID,), kill=True)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None, host="127.0.0.1") as cluster,
        child_process(
            [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--no-nanny"],
            environment=os.environ | killed.environment(),
            output=tmp_path / "worker.log",
        ),
    ):
        cluster.wait_for_workers(1, timeout=PATIENCE_SECONDS)
        runner = RunnerConfig(kind="dask", address=cluster.scheduler_address)
        with pytest.raises(AugmentError, match="has had no worker for 3 s; start some"):
            augmentation_study(tiny, location, runner=runner)
    assert killed.reached()
    assert not (location / "report.json").exists()
    augmentation_study(tiny, location)
    assert figures(location) == expected


@pytest.mark.long
def test_study_whose_dask_scheduler_went_away_stops_and_goes_on_when_asked(
    tiny: StudyConfig, tmp_path: Path, expected: dict[str, object]
) -> None:
    pytest.importorskip("distributed")
    import dask

    location, address = tmp_path / "run", f"tcp://127.0.0.1:{free_port()}"
    waiting = Interruption(folder=tmp_path / "interruption", before=(FIRST_GRID,), kill=False)
    start = [sys.executable, "-m"]
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "60s"}),
        child_process(
            [*start, "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard"],
            environment=os.environ,
            output=tmp_path / "scheduler.log",
        ) as scheduler,
        child_process(
            [*start, "distributed.cli.dask_worker", address, "--no-nanny"],
            environment=os.environ | waiting.environment(),
            output=tmp_path / "worker.log",
        ),
        ThreadPoolExecutor(1) as beside,
    ):
        wait_for_workers(address)
        killing = beside.submit(lambda: (wait_until(waiting.reached), scheduler.kill()))
        with pytest.raises(AugmentError, match="the Dask scheduler is gone; start it"):
            augmentation_study(tiny, location, runner=RunnerConfig(kind="dask", address=address))
        killing.result()
        waiting.release()
    assert not (location / "report.json").exists()
    augmentation_study(tiny, location)
    assert figures(location) == expected


@pytest.mark.long
def test_run_goes_on_with_another_runner(
    tiny: StudyConfig, undisturbed: Path, tmp_path: Path, expected: dict[str, object]
) -> None:
    location = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    (location / "report.json").unlink()
    (location / "cells/balanced-10/1/stages/generator.json").unlink()
    augmentation_study(tiny, location, runner=RunnerConfig(kind="threads", workers=2))
    assert figures(location) == expected


def test_absent_scheduler_is_one_clear_line(tiny: StudyConfig, tmp_path: Path, prefect_api: str, monkeypatch) -> None:
    monkeypatch.setattr("flows.runners.DASK_CONNECT_SECONDS", 1)
    with pytest.raises(AugmentError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        augmentation_study(tiny, tmp_path / "run", runner=RunnerConfig(kind="dask", address="tcp://127.0.0.1:9"))


def test_refusal_of_the_server_in_a_cell_reaches_the_process_of_the_study(
    tiny: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Prefect gives back a place among limited tasks; httpx makes an error of it that cannot be unpickled."""
    answer = httpx.Response(503, request=httpx.Request("POST", "http://here/api"))

    def refused(*arguments: object, **options: object) -> None:
        raise httpx.HTTPStatusError("database is locked", request=answer.request, response=answer)

    monkeypatch.setattr("flows.augmentation_study.check_source", lambda *arguments: None)
    monkeypatch.setattr("flows.augmentation_study.run_cell", refused)
    place = CellPlace(store_of(tmp_path), tiny.regimes[0], 0)
    compute = Compute(device="cpu", precision="float32")
    with pytest.raises(SERVER_ERRORS) as raised:
        run_cell_task.fn(place, tiny, compute, source="", unlimited=[], allowed=allowance())
    with pytest.raises(SERVER_ERRORS, match="database is locked"):
        raise pickle.loads(pickle.dumps(raised.value))


class Call:
    """What becomes of a call: a result, or a lost worker."""

    def __init__(self, number: int, *, is_lost: bool) -> None:
        self.wrapped_future = SimpleNamespace(done=lambda: True)
        self._number, self._is_lost = number, is_lost

    def result(self) -> int:
        if self._is_lost:
            raise BrokenProcessPool
        return self._number


class Pool:
    """A pool of processes that finishes some calls, and then loses its worker with the rest."""

    def __init__(self, num_finishing: int) -> None:
        self._left = num_finishing

    def submit(self, task: object, call: dict[str, int]) -> Call:
        self._left -= 1
        return Call(call["cell"], is_lost=self._left < 0)


@pytest.mark.parametrize(
    ("finished_by_pool", "finished"), [([1, 0, 0], [0]), ([0, 0, 0], []), ([1, 0, 1, 1], [0, 1, 2]), ([3], [0, 1, 2])]
)
def test_only_workers_lost_in_a_row_end_a_study(
    finished_by_pool: list[int], finished: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pools, results = iter(finished_by_pool), []
    monkeypatch.setattr("flows.runners._started", lambda runner, *, workers: nullcontext(Pool(next(pools))))
    lost = pytest.raises(AugmentError, match="lost 3 times in a row") if len(finished) < 3 else nullcontext()
    with lost:
        run_tasks(
            run_cell_task,
            [{"cell": number} for number in range(3)],
            runner=RunnerConfig(kind="processes"),
            workers=1,
            on_result=results.append,
            on_wait=lambda: None,
        )
    assert results == finished
    assert next(pools, None) is None


def test_workers_do_not_fight_over_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    runner = RunnerConfig(kind="processes")
    assert runner.num_workers(ComputeConfig(threads=1)) == 8
    assert runner.num_workers(ComputeConfig(threads=3)) == 2
    assert runner.num_workers(ComputeConfig(threads=0)) == 1  # one cell takes all cores
    assert RunnerConfig(kind="processes", workers=5).num_workers(ComputeConfig()) == 5


def test_runner_comes_from_file_and_options(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('[runner]\nkind = "processes"\nworkers = 3\n')
    assert resolve_runner(file=file, workers=2) == RunnerConfig(kind="processes", workers=2)
    assert resolve_runner(file=None, address="tcp://here:8786").kind == "dask"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('kind = "ray"', "runner.kind"),
        ("workerz = 2", "runner.workerz"),
        ('kind = "threads"\naddress = "tcp://x:1"', "an address is for the dask runner"),
        ('kind = "dask"\naddress = "tcp://x:1"\nworkers = 2', "cluster's own workers count"),
    ],
)
def test_bad_runners_are_named(table: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(f"[runner]\n{table}\n")
    with pytest.raises(UsageError, match=message):
        resolve_runner(file=file)
