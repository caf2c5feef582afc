"""The schedule really fires: a server, a served deployment, a run that finishes and leaves its report."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowFilter, FlowFilterName
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Scheduled

from data.base.errors import UsageError
from flows.commands.serve import alone
from flows.progress import SERVER_ERRORS
from flows.server import answers, child_process, is_loopback, reachable_host
from flows.study.config import StudyConfig, to_toml
from tests.flows.interrupting import FIRST_GRID, Interruption
from tests.waiting import PATIENCE_SECONDS, PATIENT, wait_until


class Command(Protocol):
    def command(self, *arguments: str | Path) -> list[str]: ...


def deployed(name: str) -> bool:
    with suppress(ObjectNotFound), get_client(sync_client=True) as client:
        return bool(client.read_deployment_by_name(name))
    return False


def runs_of(name: str) -> list[FlowRun]:
    """Return the runs of a deployment; others' may be on the server."""
    flow, deployment = name.split("/")
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[deployment])),
        )


def states_of(name: str) -> Counter[StateType | None]:
    return Counter(run.state_type for run in runs_of(name))


@pytest.mark.long
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
        runs = runs_of("scheduled_study/every-minute")
        return any(run.auto_scheduled and run.state_type == StateType.COMPLETED for run in runs)

    output = tmp_path / "serve.log"
    with child_process(command, environment=os.environ, output=output):
        wait_until(finished_by_schedule, told=output.read_text)
    assert list(runs.glob("*/report.json"))


@pytest.mark.long
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
        wait_until(ended, told=output.read_text)
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.is_completed(), output.read_text()
    assert list((tmp_path / "runs").glob("*/report.json"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    command: list[str], *, output: Path, home: Path, interruption: Interruption | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Serve with a server of its own, as people do; whatever is left of it at the end is killed."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"PREFECT_HOME": str(home)} | dict(interruption.environment() if interruption else {})
    with child_process(command, environment=environment, output=output) as process:
        try:
            yield process
        finally:
            kill_tree(process.pid)


def kill_tree(process: int) -> None:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process)
        for each in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)


def study_runs(url: str) -> list[FlowRun]:
    """Return all runs of the study, none while the server does not answer."""
    with suppress(*SERVER_ERRORS), temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        return [run for run in client.read_flow_runs() if run.deployment_id is not None]
    return []


def states(url: str) -> Counter[StateType]:
    return Counter(run.state.type for run in study_runs(url) if run.state is not None)


@pytest.mark.long
def test_runs_do_not_overlap_and_go_on_after_everything_was_killed(
    augment: Command, tiny: StudyConfig, prefect_home: Path, tmp_path: Path
) -> None:
    port, home, output = free_port(), prefect_home, tmp_path / "serve.log"
    url = f"http://127.0.0.1:{port}/api"
    config = tmp_path / "scheduled.toml"
    config.write_text(to_toml(tiny.model_copy(update={"replicates": 1})))
    options = ["serve", config, "--interval", "5", "--port", str(port), "--runs-directory", tmp_path / "runs"]

    training = Interruption(folder=tmp_path / "interruption", before=(FIRST_GRID,), kill=False)
    with serving(augment.command(*options), output=output, home=home, interruption=training):
        overlap = {StateType.RUNNING, StateType.CANCELLED}
        wait_until(lambda: training.reached() and overlap <= set(states(url)), told=output.read_text)
        assert states(url)[StateType.RUNNING] == 1
    (cut,) = (tmp_path / "runs").iterdir()

    with serving(augment.command(*options), output=output, home=home) as process:
        wait_until(lambda: states(url)[StateType.COMPLETED] > 0, told=output.read_text)
        assert states(url)[StateType.CRASHED] == 1
        process.terminate()
        assert process.wait(timeout=PATIENCE_SECONDS) == 0, output.read_text()
    assert under_way(home / "prefect.db") == []
    text = output.read_text()
    assert "it is marked as crashed" in text
    assert "every 5 s" in text
    assert "with one replicate" in text
    assert (cut / "report.json").exists()


def under_way(database: Path) -> list[str]:
    """Return the runs that the database of a server that has ended tells of as if somebody were at them."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("select name from flow_run where state_type in ('PENDING', 'RUNNING', 'CANCELLING')")
        return [name for (name,) in rows]


@pytest.mark.long
def test_server_that_dies_is_started_again_and_ctrl_c_ends_in_order(
    augment: Command, tiny_toml: Path, prefect_home: Path, tmp_path: Path
) -> None:
    port, output = free_port(), tmp_path / "serve.log"
    metrics = free_port()
    served = ["--port", str(port), "--metrics", str(metrics), "--runs-directory", tmp_path / "runs"]
    options = ["serve", tiny_toml, *served]

    def told(line: str) -> bool:
        return line in output.read_text()

    with serving(augment.command(*options), output=output, home=prefect_home) as process:
        wait_until(lambda: told("serving scheduled_study"), told=output.read_text)
        next(each for each in psutil.Process(process.pid).children() if "server" in each.cmdline()).kill()
        wait_until(lambda: told("the Prefect server is there again"), told=output.read_text)
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/api"), told=output.read_text)
        assert "augment_server_up 1.0" in PATIENT.get(f"http://127.0.0.1:{metrics}/metrics").text
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_SECONDS) == 130, output.read_text()
    assert told("the Prefect server ended by signal 9")
    assert not told("Traceback")
    assert not told("never awaited")


@pytest.mark.long
def test_of_the_runs_that_came_due_while_the_machine_slept_one_is_run(
    augment: Command, tiny: StudyConfig, tmp_path: Path, prefect_api: str
) -> None:
    config, output, runs = tmp_path / "study.toml", tmp_path / "serve.log", str(tmp_path / "runs")
    name = "scheduled_study/slept"
    study = tiny.model_copy(update={"replicates": 1})
    config.write_text(to_toml(study))

    command = augment.command("serve", config, "--name", "slept", "--runs-directory", runs)
    with child_process(command, environment=os.environ, output=output) as process:
        wait_until(lambda: deployed(name), told=output.read_text)
        process.send_signal(signal.SIGSTOP)
        with get_client(sync_client=True) as client:
            for hours in (4, 3, 2, 1):
                due: State = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(hours=hours))
                client.create_flow_run_from_deployment(client.read_deployment_by_name(name).id, state=due)
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: states_of(name).keys() <= TERMINAL_STATES, told=output.read_text)
        assert states_of(name) == {StateType.COMPLETED: 1, StateType.CANCELLED: 3}  # its end may cancel the first
    assert len(list(Path(runs).glob("*/report.json"))) == 1


@pytest.mark.slow
def test_run_of_a_killed_serve_does_not_go_on_unseen(tmp_path: Path) -> None:
    script = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(6000)"
    run = "import os, time; os.environ['AUGMENT_SERVED_BY'] = str(os.getppid()); from flows.attached import *; " \
        "end_with_serve(); time.sleep(6000)"  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", script, run]) as parent:
        wait_until(lambda: bool(psutil.Process(parent.pid).children()))
        (child,) = psutil.Process(parent.pid).children()
        wait_until(lambda: child.num_threads() > 1)
        parent.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_second_process_cannot_serve_the_same_deployments(tmp_path: Path) -> None:
    with temporary_settings({PREFECT_HOME: tmp_path}):
        with alone("nightly"), pytest.raises(UsageError, match="--name nightly is running here"), alone("nightly"):
            pass
        with alone("nightly"), alone("other"):  # free again
            pass


@pytest.mark.parametrize(
    ("host", "reached", "loopback"),
    [("127.0.0.1", "127.0.0.1", True), ("0.0.0.0", "127.0.0.1", False), ("::", "[::1]", False), ("::1", "[::1]", True),
     ("localhost", "localhost", True), ("10.1.2.3", "10.1.2.3", False)],
)  # fmt: skip
def test_server_on_all_addresses_is_reached_on_this_machine(host: str, reached: str, loopback: bool) -> None:
    assert reachable_host(host) == reached
    assert is_loopback(host) is loopback
