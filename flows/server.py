"""Prefect servers of one's own, where `PREFECT_API_URL` names no other one: for schedules, and for a single study."""

import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import platformdirs
from filelock import FileLock, Timeout
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
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED, temporary_settings
from prefect.states import Crashed

from data.base.errors import AugmentError, message_of
from data.base.files import given_path
from flows.progress import SERVER_ERRORS
from flows.study.store import redact

START_SECONDS = 300.0  # on a slow machine that is busy; one that ends is noticed at once
CHECKS = 5  # of a server that is there and does not answer in time
LOCK_SECONDS = 600.0  # for those before this one to have started
STOP_SECONDS = 10.0
LOOK_SECONDS = 1.0  # between looks whether a server has ended
DRAIN_SECONDS = 5.0
LOG_LINES = 400
ERROR_CHARACTERS = 300
ERROR_LINE = re.compile(r"(\w+\.)*\w*(Error|Exception|Failed|NotFound)(: .+)$")  # as a traceback ends
OUTCOME_LINE = re.compile(r"Application startup failed|RuntimeError: Caught|DatabaseError: database disk image\Z")
_DATABASE = "PREFECT_API_DATABASE_CONNECTION_URL"
KNOWN_ERRORS = {  # what a server's log has: what to do
    "Can't locate revision": "the database was made by a newer Prefect: set PREFECT_HOME to another folder",
    "file is not a database|disk image is malformed": "the database is damaged: restore it, or move it out of the way",
    "readonly database|unable to open database": "set PREFECT_HOME to a folder of yours",
    "password authentication failed": f"correct the password in {_DATABASE}",
    "Connect(ion)? (call failed|refused)": f"start the database server, or correct {_DATABASE}",
}
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
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    # On disk, a run keeps its place among those allowed at a time when the server starts anew; in memory it would be
    # taken for ever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}
STUDY_SETTINGS = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _UNUSED_BY_A_STUDY} | {
    "PREFECT_SERVER_UI_ENABLED": "false"
}


class PrefectServer:
    """A Prefect server that this process started, and can start again at the same address.

    Attributes:
        url: of its API.
        log: what it and its libraries print.
    """

    def __init__(self, *, host: str, port: int, settings: Mapping[str, str]) -> None:
        port = _bindable_port(host, port)
        self.url = f"http://{reachable_host(host)}:{port}/api"
        home = server_home()
        self.log = home / "logs" / f"server-{port}.log"
        self._lock = home / "starting.lock"
        own = {"PREFECT_API_URL": self.url, "PREFECT_UI_API_URL": "/api"}  # a browser asks where it found the page
        own |= {"PREFECT_HOME": str(home)}
        origin = {"PREFECT_SERVER_CORS_ALLOWED_ORIGINS": self.url.removesuffix("/api")}  # of its own user interface
        self._environment = SERVER_SETTINGS | origin | os.environ | own | dict(settings)
        start = ["prefect", "server", "start", "--host", host, "--port", str(port)]
        self._command = [sys.executable, "-m", "flows.attached", *start]
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers.

        One after the other where several start beside each other: the first one makes the database's tables.

        Raises:
            AugmentError: it does not come up; the message has its own last error.
        """
        self.stop()
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._lock, timeout=LOCK_SECONDS):
                process = child_process(self._command, environment=self._environment, output=self.log)
                self._process = self._running.enter_context(process)
                self._wait_until_healthy(self._process)
        except Timeout as error:
            raise AugmentError(
                f"another Prefect server has been starting for {LOCK_SECONDS:.0f} s in {self._lock.parent}; "
                "end it, or set PREFECT_HOME to another folder"
            ) from error
        except OSError as error:
            raise _unwritable(self._lock.parent, error) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server, if it runs."""
        self._running.close()
        self._process = None

    def ended(self) -> str:
        """Return how it ended, "" while it runs."""
        status = None if self._process is None else self._process.poll()
        return "" if status is None else self._ending(status)

    def forget_log(self) -> None:
        """Remove the log of a server that did what it should."""
        with suppress(OSError):
            self.log.unlink(missing_ok=True)

    def _ending(self, status: int) -> str:
        how = f"by signal {-status}" if status < 0 else f"with exit code {status}"
        why = last_error(self.log)
        return f"{how}: {why} (all that it said: {self.log})" if why else how

    def _wait_until_healthy(self, process: "subprocess.Popen[bytes]") -> None:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            if process.poll() is not None:
                raise AugmentError(f"the Prefect server ended before it was ready, {self._ending(process.returncode)}")
            if answers(self.url):
                return
            time.sleep(0.2)
        why = last_error(self.log)
        told = f": {why} (all that it said: {self.log})" if why else f"; all that it said: {self.log}"
        raise AugmentError(f"the Prefect server was not ready after {START_SECONDS:.0f} s{told}")


def answers(url: str) -> bool:
    """Tell whether a Prefect server answers at this API's URL."""
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def last_error(log: Path) -> str:
    """Return the last error in a server's log with what to do about it, in one line without secrets; "" without one."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    except OSError:
        return ""
    errors = [line.strip() for line in lines if ERROR_LINE.match(line)]
    told = next((line for line in reversed(errors) if not OUTCOME_LINE.search(line)), errors[-1] if errors else "")
    advice = next((f"; {text}" for sign, text in KNOWN_ERRORS.items() if re.search(sign, "\n".join(lines))), "")
    return redact(told[:ERROR_CHARACTERS]) + advice if told else ""


@contextmanager
def running_server(*, host: str, port: int, settings: Mapping[str, str] | None = None) -> Iterator[PrefectServer]:
    """Run a Prefect server while the block runs. It ends with this process, even a killed one.

    Args:
        host: address to bind to; loopback unless the user says otherwise.
        port: 0 takes a free one.
        settings: Prefect's, by the names of their environment variables; by default it has all services and its
            user interface.

    Raises:
        AugmentError: the port is taken, or the server does not come up.
    """
    server = PrefectServer(host=host, port=port, settings=settings or {})
    server.start()
    try:
        try:
            yield server
        finally:
            tell_the_rest()
    finally:
        server.stop()
    if port == 0:
        server.forget_log()  # nobody looks for the log of a server that had an address for once


@contextmanager
def kept_running(server: PrefectServer) -> Iterator[None]:
    """Start the server again where it ends while the block runs; who asks it is patient enough not to notice."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            if server.ended():
                with suppress(AugmentError):  # who asks it next will tell
                    server.start()

    watching = threading.Thread(target=watch, daemon=True, name="server-again")
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def check_server(url: str) -> None:
    """Make sure that the server that is configured answers, and is one that this version of Prefect can talk to.

    Raises:
        AugmentError: it does not, or is not.
    """
    reason: BaseException | None = None
    for _ in range(CHECKS):  # a server at work on a slow machine may take longer than one answer may
        try:
            with get_client(sync_client=True) as client:
                reason = client.api_healthcheck()
                if reason is None:
                    client.raise_for_api_version_mismatch()
        except SERVER_ERRORS as error:
            reason = error
        except (RuntimeError, ValueError) as error:  # around what the server answered, or of two versions
            reason = error.__cause__ or error
        if reason is None or isinstance(reason, httpx.ConnectError):
            break
    if reason is not None:
        what = message_of(reason)
        if isinstance(reason, ValueError):  # a page, such as that of the user interface, instead of a version
            what = "what is there is not its API, whose address ends in /api"
        raise AugmentError(
            f"no Prefect server answers at {redact(url)} ({redact(what[:ERROR_CHARACTERS])}); start it, or leave out "
            "PREFECT_API_URL (unset it, or choose another Prefect profile) to have one started here"
        )


def server_home() -> Path:
    """Return where the servers of this project keep their database: `PREFECT_HOME`, else a folder of our own.

    A user's own Prefect, whose home is another one, may be of a version that does not read the same database.

    Raises:
        AugmentError: it cannot be written.
    """
    configured = os.environ.get("PREFECT_HOME")
    home = given_path(configured) if configured else Path(platformdirs.user_data_dir("augmentation-gain")) / "prefect"
    try:
        home.mkdir(parents=True, exist_ok=True)  # Prefect makes only the last folder of this path
        probe = home / f".{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(home, error) from error
    return home


def _unwritable(home: Path, error: OSError) -> AugmentError:
    return AugmentError(f"cannot write {home}: {error.strerror or error}; set PREFECT_HOME to a folder of yours")


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


def end_dead_runs(deployment: str, *, message: str) -> list[str]:
    """Mark runs of the deployments of this name as crashed that a database tells of although nobody can be at them.

    For a server that has just been started here, or when serving ends: what ran was ended with it, or reports nowhere.
    A run that seems to go on for ever would keep the deployment's only place.

    Args:
        message: what became of them.
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
            crashed: State = Crashed(message=message)
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
        AugmentError: the one that is configured does not answer, or the other one does not come up.
    """
    configured = PREFECT_API_URL.value()
    if configured:
        with api_url_everywhere(configured):
            check_server(configured)
            yield
        return
    with (
        running_server(host="127.0.0.1", port=0, settings=STUDY_SETTINGS) as server,
        kept_running(server),
        api_url_everywhere(server.url),
    ):
        yield


@contextmanager
def api_url_everywhere(url: str) -> Iterator[None]:
    """Make `url` the API of this block, of the threads that Prefect starts in it, and of child processes.

    `temporary_settings` alone reaches the block's own context: the thread that passes on what worker processes tell
    would ask for a server, find none, and start one of its own.

    No process asks for the server's version at its first contact, as `check_server` does: where the server is busy or
    away at that moment, Prefect would end the process's work by a `RuntimeError`, though it may not need the server.
    """
    changes = {"PREFECT_API_URL": url, "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false"}
    if is_loopback(urlsplit(url).hostname or ""):
        for name in ("no_proxy", "NO_PROXY"):  # a proxy for the outside must not stand before a server on this machine
            exempt = [host for host in os.environ.get(name, "").split(",") if host]
            changes[name] = ",".join(dict.fromkeys([*exempt, "127.0.0.1", "localhost"]))
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    refresh_global_settings_context()
    try:
        with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False}):
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
