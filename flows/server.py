"""Prefect servers of one's own, where `PREFECT_API_URL` names no other one: for schedules, and for a single study."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import platformdirs
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.context import refresh_global_settings_context
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Crashed

from data.base.errors import AugmentError
from flows.progress import SERVER_ERRORS

START_SECONDS = 120.0
STOP_SECONDS = 10.0
DRAIN_SECONDS = 5.0
_UNUSED_BY_A_STUDY = (  # services that look into the database every few seconds, beside workers that fill the cores
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "EVENT_PERSISTER",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)
SERVER_SETTINGS = {  # of the servers that this project starts; variables that are set already win
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    # On disk, a run keeps its place among those allowed at a time when the server starts anew; in memory it would be
    # taken for ever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}
STUDY_SETTINGS = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _UNUSED_BY_A_STUDY} | {
    "PREFECT_SERVER_UI_ENABLED": "false"
}


@contextmanager
def prefect_server(*, host: str, port: int, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a Prefect server while the block runs; yield its API's URL. It ends with this process, even a killed one.

    Args:
        host: address to bind to; loopback unless the user says otherwise.
        port: 0 takes a free one.
        settings: Prefect's, by the names of their environment variables; by default it has all services and its
            user interface.

    Raises:
        AugmentError: the port is taken, or the server does not come up.
    """
    port = _bindable_port(host, port)
    url = f"http://{reachable_host(host)}:{port}/api"
    own = {"PREFECT_API_URL": url, "PREFECT_UI_API_URL": "/api"}  # a browser asks where it found the page
    own |= {"PREFECT_HOME": str(server_home())}
    environment = SERVER_SETTINGS | os.environ | own | dict(settings or {})
    start = ["prefect", "server", "start", "--host", host, "--port", str(port)]
    with child_process(
        [sys.executable, "-m", "flows.attached", *start], environment=environment, output=Path(os.devnull)
    ) as process:
        _wait_until_healthy(process, url)
        try:
            yield url
        finally:
            tell_the_rest()


def server_home() -> Path:
    """Return where the servers of this project keep their database: `PREFECT_HOME`, else a folder of our own.

    A user's own Prefect, whose home is another one, may be of a version that does not read the same database.

    Raises:
        AugmentError: it cannot be written.
    """
    configured = os.environ.get("PREFECT_HOME")
    home = Path(configured) if configured else Path(platformdirs.user_data_dir("augmentation-gain")) / "prefect"
    try:
        home.mkdir(parents=True, exist_ok=True)  # Prefect makes only the last folder of this path
    except OSError as error:
        raise AugmentError(
            f"cannot write {home}: {error.strerror or error}; set PREFECT_HOME to a folder of yours"
        ) from error
    return home


def reachable_host(host: str) -> str:
    """Return where this machine reaches a server that is bound to `host`: all addresses are no address."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}
    return everywhere.get(host, f"[{host}]" if ":" in host else host)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a server that is bound to `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def end_dead_runs(deployment: str) -> list[str]:
    """Mark runs of the deployments of this name as crashed that a database tells of although nobody can be at them.

    For a server that has just been started here: what ran when it was killed was ended with it, or reports nowhere. A
    run that seems to go on for ever would keep the deployment's only place.
    """
    under_way = FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    )
    with get_client(sync_client=True) as client:
        dead = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=under_way),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[deployment])),
        )
        called_by_them = FlowRunFilterParentFlowRunId(any_=[run.id for run in dead])
        inside = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=under_way, parent_flow_run_id=called_by_them)
        )
        for run in [*dead, *inside]:
            crashed: State = Crashed(message="the server ended while this run was under way")
            client.set_flow_run_state(run.id, crashed, force=True)
    return [run.name for run in dead]


def tell_the_rest() -> None:
    """Send Prefect's server the events and log lines that wait here; once it is gone, they would hold up the exit."""
    for service in (EventsWorker, APILogWorker):
        service.drain_all(timeout=DRAIN_SECONDS)


def end_without_server(error: AugmentError) -> None:
    """End the process at once where the server that the error speaks of does not answer any more."""
    if isinstance(error.__cause__, SERVER_ERRORS):
        os._exit(error.exit_code)


@contextmanager
def study_server() -> Iterator[None]:
    """Let the block have a Prefect server: the one that is configured, else a lean one for one study.

    Raises:
        AugmentError: the server does not come up.
    """
    if PREFECT_API_URL.value():
        yield
        return
    with (
        prefect_server(host="127.0.0.1", port=0, settings=STUDY_SETTINGS) as url,
        api_url_everywhere(url),
    ):
        yield


@contextmanager
def api_url_everywhere(url: str) -> Iterator[None]:
    """Make `url` the API of this block, of the threads that Prefect starts in it, and of child processes.

    `temporary_settings` alone reaches the block's own context: the thread that passes on what worker processes tell
    would ask for a server, find none, and start one of its own.
    """
    changes = {"PREFECT_API_URL": url}
    if is_loopback(urlsplit(url).hostname or ""):
        for name in ("no_proxy", "NO_PROXY"):  # a proxy for the outside must not stand before a server on this machine
            exempt = [host for host in os.environ.get(name, "").split(",") if host]
            changes[name] = ",".join(dict.fromkeys([*exempt, "127.0.0.1", "localhost"]))
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    refresh_global_settings_context()
    try:
        with temporary_settings({PREFECT_API_URL: url}):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        refresh_global_settings_context()


@contextmanager
def child_process(
    command: Sequence[str], *, environment: Mapping[str, str], output: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command while the block runs; its standard input is a pipe that this process alone keeps open.

    It has a session of its own, so that Ctrl-C reaches this process first, which may still need the child to end well.
    """
    with open(output, "wb") as stream:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _bindable_port(host: str, port: int) -> int:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise AugmentError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port") from error


def _wait_until_healthy(process: "subprocess.Popen[bytes]", url: str) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise AugmentError(f"the Prefect server ended with exit code {process.returncode} before it was ready")
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AugmentError(f"the Prefect server was not ready after {START_SECONDS:.0f} s")
