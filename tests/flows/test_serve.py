"""The schedule really fires: a server, a served deployment, a run that finishes and leaves its report."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from prefect.client.orchestration import get_client

from flows.config import StudyConfig, to_toml
from flows.server import child_process


class Command(Protocol):
    def command(self, *arguments: str | Path) -> list[str]: ...


def wait_for(condition: Callable[[], bool], *, seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if condition():
            return True
        time.sleep(0.5)
    return False


def test_cron_schedule_fires_and_the_run_finishes(
    augment: Command, tiny: StudyConfig, tmp_path: Path, prefect_api: str
) -> None:
    config = tmp_path / "scheduled.toml"
    config.write_text(to_toml(tiny.model_copy(update={"replicates": 1})))
    runs = tmp_path / "runs"
    command = augment.command(
        "serve", config, "--cron", "* * * * *", "--name", "every-minute", "--runs-directory", runs
    )

    def finished_by_schedule() -> bool:
        with get_client(sync_client=True) as client:
            return any(
                run.auto_scheduled and run.state is not None and run.state.is_completed()
                for run in client.read_flow_runs()
            )

    output = tmp_path / "serve.log"
    with child_process(command, environment=os.environ, output=output):
        assert wait_for(finished_by_schedule, seconds=200), output.read_text()
    assert list(runs.glob("*/report.json"))


def test_worker_of_the_work_pool_runs_the_deployment(prefect_api: str, tiny: StudyConfig, tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
    prefect = [str(Path(sys.executable).parent / "prefect"), "--no-prompt"]
    subprocess.run([*prefect, "work-pool", "create", "--type", "process", "augment"], check=True, cwd=root)
    subprocess.run([*prefect, "deploy", "--all"], check=True, cwd=root)
    parameters = {
        "config": tiny.model_copy(update={"replicates": 1}).model_dump(mode="json"),
        "runs_directory": str(tmp_path / "runs"),
    }
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("scheduled_study/nightly")
        assert deployment.work_pool_name == "augment"
        assert [schedule.schedule.cron for schedule in deployment.schedules] == ["0 3 * * *"]  # type: ignore[union-attr]
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    worker = [*prefect, "worker", "start", "--pool", "augment", "--limit", "1"]
    output = tmp_path / "worker.log"

    def ended() -> bool:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run.id).state
            return state is not None and state.is_final()

    with child_process(worker, environment=os.environ, output=output):
        assert wait_for(ended, seconds=150), output.read_text()
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.is_completed(), output.read_text()
    assert list((tmp_path / "runs").glob("*/report.json"))
