"""What `augment serve` keeps running: deployments that keep what people set, and a server that is started again."""

import asyncio
import math
import os
import platform
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from json import JSONDecodeError
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

import httpx
import tzlocal
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.server.schemas import schedules as server_schedules
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from data.base.errors import AugmentError, UsageError, message_of
from data.base.files import digest_json
from flows.attached import SERVED_BY
from flows.one_line import log_errors_in_one_line
from flows.progress import NO_ANSWER, SERVER_ERRORS
from flows.schedule import OnRegression, augmentation_comparison, augmentation_export, scheduled_study
from flows.server import PrefectServer
from flows.study.config import RunnerConfig, StudyConfig

BANNED_IN_NAMES = '/%&<>"?#'  # Prefect's own, and what ends a path in a URL
CRON_FIELDS = 5
SHORTEST_INTERVAL, LONGEST_INTERVAL = 1.0, 10 * 366 * 86_400.0  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0  # seconds between attempts to reach a server, or to start it again
STEADY_SECONDS = 60.0  # a server that lived so long is started again at once
LOOK_SECONDS = 30.0  # between looks whether the deployments are still on the server
STOP_SECONDS = 40.0  # for runs under way to end when serving ends
SHOWN_RUNS = 3
LATER = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)  # refusals of a server that is only busy

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ServedStudy:
    """What is run again and again; `runs_directory` is an absolute path or a URL."""

    config: StudyConfig
    runs_directory: str
    runner: RunnerConfig
    on_regression: OnRegression


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """When a deployment runs: by a cron expression, every so many seconds, or on request only.

    Attributes:
        timezone: IANA name of the zone that the cron expression is in, and that days are counted in.
    """

    cron: str | None
    interval: float | None
    timezone: str

    def __str__(self) -> str:
        if self.cron is not None:
            return f"cron {self.cron}, time zone {self.timezone}"
        return f"every {self.interval:g} s" if self.interval is not None else "on request"

    def schedules(self) -> list[CronSchedule | IntervalSchedule]:
        """Return Prefect's schedules, one at most; one with an interval begins now."""
        if self.cron is not None:
            return [CronSchedule(cron=self.cron, timezone=self.timezone)]
        if self.interval is not None:
            return [IntervalSchedule(interval=timedelta(seconds=self.interval), timezone=self.timezone)]
        return []


def machine_timezone() -> str:
    """Return the IANA name of this machine's time zone, UTC where it has none.

    Prefect knows no `right/Europe/Berlin` and no `posix/Europe/Berlin`, as some machines call it.
    """
    try:
        name: str = tzlocal.get_localzone_name() or "UTC"
    except (LookupError, ValueError, OSError):
        return "UTC"
    known = available_timezones()
    return next((zone for zone in (name, name.partition("/")[2]) if zone in known), "UTC")


def checked_timetable(*, cron: str | None, interval: float | None, timezone: str | None) -> Timetable:
    """Return the timetable that the options ask for; the machine's own time zone where they name none.

    Raises:
        UsageError: not a cron expression, an interval that is none, both, or an unknown time zone.
    """
    if cron is not None and interval is not None:
        raise UsageError("give either --cron or --interval, not both")
    zone = machine_timezone() if timezone is None else timezone
    if zone not in available_timezones():  # as Prefect asks; what Python's ZoneInfo reads is more
        raise UsageError(f"--timezone {zone!r} is not the name of a time zone; for example Europe/Berlin, or UTC")
    if cron is not None:
        cron = " ".join(cron.split())
        fields = len(cron.split())
        if fields > CRON_FIELDS:  # Prefect takes a sixth one for seconds, other tools a first one
            names = "minute, hour, day of the month, month, day of the week"
            raise UsageError(f"--cron {cron!r} has {fields} fields; write {CRON_FIELDS}: {names}")
        try:
            schedule = CronSchedule(cron=cron, timezone=zone)
        except ValidationError as error:
            example = '"0 3 * * *" is every night at three'
            raise UsageError(f"--cron {cron!r} is not a cron expression; for example {example}") from error
        with suppress(ValueError):  # what finds no day in fifty years
            if next_runs([DeploymentScheduleCreate(schedule=schedule)], start=datetime.now(UTC), count=1):
                return Timetable(cron=cron, interval=None, timezone=zone)
        raise UsageError(f"--cron {cron!r} names no day that ever comes; give another")
    if interval is not None and not (math.isfinite(interval) and SHORTEST_INTERVAL <= interval <= LONGEST_INTERVAL):
        raise UsageError(
            f"--interval must be a number of seconds from {SHORTEST_INTERVAL:g} to {LONGEST_INTERVAL:g}, "
            f"not {interval:g}; 86400 is a day"
        )
    return Timetable(cron=cron, interval=interval, timezone=zone)


def checked_name(name: str) -> str:
    """Return the name of a deployment.

    Raises:
        UsageError: Prefect allows no such name.
    """
    if not name.strip(" .") or not name.isprintable() or any(character in name for character in BANNED_IN_NAMES):
        raise UsageError(f"--name {name!r} cannot be used; write a word without {' '.join(BANNED_IN_NAMES)}")
    return name


def deployments(job: ServedStudy, *, name: str, timetable: Timetable, machine: str = "") -> list[RunnerDeployment]:
    """Return the deployments of study, comparison and export; the study is on schedule, the others run on request.

    One run of each at a time; a run that comes due during another is cancelled.

    Args:
        machine: who serves, where others may serve from the same server.
    """
    study: dict[str, Any] = {
        "config": job.config.model_dump(mode="json"),
        "runs_directory": job.runs_directory,
        "on_regression": job.on_regression,
    }
    runner = {"runner": job.runner.model_dump(mode="json")}
    asked = [timetable.cron, timetable.interval, timetable.timezone, machine]
    common: dict[str, Any] = {
        "name": name,
        "version": f"{digest_json(asked)[:8]}-{digest_json(study | runner)[:8]}",
        "concurrency_limit": ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        "entrypoint_type": EntrypointType.MODULE_PATH,
    }
    served: list[Any] = [  # typed as possible coroutines, which they are inside an event loop only
        scheduled_study.to_deployment(parameters=study | runner, schedules=timetable.schedules(), **common),
        augmentation_comparison.to_deployment(parameters=study, **common),
        augmentation_export.to_deployment(**common),
    ]
    return served


def keep_what_people_set(served: Sequence[RunnerDeployment], *, replace: bool) -> list[str]:
    """Let deployments that the server has keep their pause, and their schedules and parameters if they are of this
    very command; return notes for people.

    Args:
        replace: whether the schedules and parameters of another command may be replaced.

    Raises:
        UsageError: the server has a deployment of this name with other parameters, schedules, or from another machine.
    """
    notes = []
    with get_client(sync_client=True) as client:
        for deployment in served:
            try:
                found = client.read_deployment_by_name(deployment.full_name)
            except ObjectNotFound:
                continue
            reason = _differs(deployment, found)
            if reason and not replace:
                raise UsageError(
                    f"the server has a deployment {deployment.full_name} {reason}; choose another --name, "
                    "or replace it with --replace"
                )
            if not reason:
                notes += _keep(deployment, found)
            if found.paused:
                deployment.paused = True
                notes.append(
                    f"{deployment.full_name} is paused, and stays so; go on with: "
                    f"prefect api POST /deployments/{found.id}/resume_deployment"
                )
    return notes


def _differs(deployment: RunnerDeployment, found: DeploymentResponse) -> str:
    """Say in what the server's deployment is not of this command, "" where it is."""
    ours, theirs = ((version or "").partition("-") for version in (deployment.version, found.version))
    if not theirs[1]:
        return "that was not made by this command"
    if ours[0] != theirs[0]:
        return "with another schedule, or from another machine"
    same = ours[2] == theirs[2] or _parameters(found.parameters) == _parameters(deployment.parameters)
    return "" if same else "with another configuration or runs directory"


def _parameters(values: dict[str, Any]) -> dict[str, Any] | None:
    """Return parameters with the configuration as this version reads it: a newer one has keys that an older lacks."""
    try:
        config = StudyConfig.model_validate(values["config"]) if "config" in values else None
        return values | {"config": config}
    except ValidationError:
        return None


def _keep(deployment: RunnerDeployment, found: DeploymentResponse) -> list[str]:
    notes = []
    if deployment.version == found.version and found.parameters != deployment.parameters:
        deployment.parameters = found.parameters
        notes.append(f"{deployment.full_name} keeps the parameters that it was given on the server")
    kept = [
        DeploymentScheduleCreate(schedule=each.schedule, active=each.active, parameters=each.parameters, slug=each.slug)
        for each in found.schedules
    ]
    ours = [_told(each.schedule) for each in deployment.schedules or []]
    theirs = [_told(each.schedule) for each in kept]
    if ours != theirs or not all(each.active for each in kept):
        notes.append(f"{deployment.full_name} keeps the schedule that it was given on the server")
    deployment.schedules = list(kept)
    return notes


def _told(schedule: Any) -> dict[str, Any]:
    facts: dict[str, Any] = schedule.model_dump(mode="json", exclude={"anchor_date"})  # an interval keeps its beginning
    return facts


def next_runs(schedules: Iterable[DeploymentScheduleCreate], *, start: datetime, count: int) -> list[datetime]:
    """Return when the next runs are due by the active schedules, as Prefect's own server counts."""

    async def dates() -> list[datetime]:
        found: list[datetime] = []
        for each in schedules:
            if each.active is not False and each.schedule is not None:
                own = getattr(server_schedules, type(each.schedule).__name__)
                found += await own(**each.schedule.model_dump()).get_dates(n=count, start=start)
        return sorted(found)[:count]

    return asyncio.run(dates())


def next_runs_line(deployment: RunnerDeployment) -> str:
    """Return one line on when the next runs are due, "" without a schedule."""
    schedules = [each for each in deployment.schedules or [] if isinstance(each, DeploymentScheduleCreate)]
    due = next_runs(schedules, start=datetime.now(UTC), count=SHOWN_RUNS)
    zones = (getattr(each.schedule, "timezone", None) for each in schedules)
    zone = ZoneInfo(next((name for name in zones if name), "UTC"))
    local = [each.astimezone(zone) for each in due]
    return "next runs: " + ", ".join(f"{each:%a %Y-%m-%d %H:%M:%S %Z}" for each in local) if local else ""


class PatientRunner(Runner):
    """Prefect's runner, which goes on asking a server that does not answer, with growing pauses and a line each.

    Prefect's own gives up after three failures, with the traceback of each.
    """

    def __init__(self, *, tell: Tell, handle_signals: Callable[[], None]) -> None:
        super().__init__(pause_on_shutdown=False)
        self._tell = tell
        self._handle_signals = handle_signals

    async def __aenter__(self) -> "PatientRunner":
        self._handle_signals()  # Prefect has just set a handler that waits for a coroutine in the wrong loop
        await super().__aenter__()
        poller = self._scheduled_run_poller
        patient = self._patiently(poller._get_and_submit_flow_runs)
        poller._get_and_submit_flow_runs = patient  # type: ignore[method-assign]
        return self

    def _patiently(self, poll: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
        pause = FIRST_PAUSE

        async def asked(task_group: Any = None) -> None:
            nonlocal pause
            try:
                await poll(task_group)
            except NO_ANSWER as error:
                self._tell(_asking_again(error, pause))
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                if pause > FIRST_PAUSE:
                    self._tell("the Prefect server answers again")
                pause = FIRST_PAUSE

        return asked


def keep_serving(served: Sequence[RunnerDeployment], *, server: PrefectServer | None, tell: Tell) -> int:
    """Serve deployments until a signal comes; return which.

    Args:
        server: the one of this process, which is started again whenever it ends.

    Raises:
        AugmentError: the server refuses, such as after somebody has deleted the deployment.
    """
    os.environ[SERVED_BY] = str(os.getpid())
    log_errors_in_one_line()
    return asyncio.run(_serve(served, server=server, tell=tell))


async def _serve(served: Sequence[RunnerDeployment], *, server: PrefectServer | None, tell: Tell) -> int:
    loop, signals = asyncio.get_running_loop(), asyncio.Queue[int]()

    def handle_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signals.put_nowait, int(number))

    handle_signals()
    runner = PatientRunner(tell=tell, handle_signals=handle_signals)
    serving = asyncio.create_task(_register_and_run(runner, served, tell))
    loop.set_exception_handler(_untold_cancellation)
    stopped = asyncio.create_task(signals.get())
    watching = asyncio.create_task(_start_again(server, tell)) if server is not None else None
    try:
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            raise _ended(serving.exception())
        tell("ending: runs under way are cancelled, and go on when they are next due")
        if runner.started:
            with suppress(TimeoutError, *SERVER_ERRORS):
                await asyncio.wait_for(runner.astop(), STOP_SECONDS)
            await asyncio.wait({serving}, timeout=STOP_SECONDS)
        return stopped.result()
    finally:
        for task in (serving, stopped, watching):
            if task is not None:
                task.cancel()
                with suppress(BaseException):
                    await task


async def _register_and_run(runner: Runner, served: Sequence[RunnerDeployment], tell: Tell) -> None:
    registered: dict[UUID, str] = {}
    for deployment in served:
        pause = FIRST_PAUSE
        while True:
            try:
                registered[await runner.aadd_deployment(deployment)] = deployment.full_name
                break
            except Exception as error:
                answer = _server_error(error)
                if answer is None or _refuses(answer):
                    raise
                tell(_asking_again(answer, pause))
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
    tasks = [asyncio.create_task(runner.start()), asyncio.create_task(_notice_deletion(registered))]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _notice_deletion(registered: Mapping[UUID, str]) -> None:
    """Look now and then whether the server still has the deployments: without them nothing would ever be due.

    Raises:
        AugmentError: it has not.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for deployment, name in registered.items():
            try:
                async with get_client() as client:
                    await client.read_deployment(deployment)
            except ObjectNotFound as error:
                raise AugmentError(
                    f"the server has no deployment {name} any more; start augment serve again to serve it"
                ) from error
            except NO_ANSWER:
                break  # the runner tells of it


def _server_error(error: BaseException | None) -> httpx.HTTPError | None:
    """Return the HTTP error that Prefect met before it raised `error`, whatever it made of it; None without one.

    It raises DeploymentApplyError from it, or fails to read the page by which a proxy says that the server is busy.
    """
    while error is not None and not isinstance(error, httpx.HTTPError):
        unread = isinstance(error, (JSONDecodeError, StopIteration))  # as JSON is read, and found to be none
        error = error.__context__ if unread else error.__cause__
    return error


def _refuses(error: httpx.HTTPError) -> bool:
    """Tell whether the server said no, as opposed to "later"."""
    if not isinstance(error, httpx.HTTPStatusError):
        return False
    return error.response.is_client_error and error.response.status_code not in LATER


def _asking_again(error: BaseException, pause: float) -> str:
    return f"the Prefect server does not answer ({message_of(error)}); asking it again in {pause:.0f} s"


def _untold_cancellation(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell of errors in the loop, but not that a task of Prefect's was cancelled when serving ended."""
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


def _ended(error: BaseException | None) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, AugmentError):
        return error
    told = _server_error(error) or error
    if told is None or isinstance(told, (RuntimeError, *SERVER_ERRORS)):  # the runner's own errors are RuntimeErrors
        reason = "without a reason" if told is None else message_of(told)
        return AugmentError(f"Prefect's runner ended ({reason}); start augment serve again")
    return told


async def _start_again(server: PrefectServer, tell: Tell) -> None:
    """Start the server whenever it has ended, at once, or with growing pauses where it does not stay."""
    pause, started = FIRST_PAUSE, time.monotonic()
    while True:
        await asyncio.sleep(1)
        how = server.ended()
        if not how:
            continue
        if time.monotonic() - started > STEADY_SECONDS:
            pause = FIRST_PAUSE
        tell(f"the Prefect server ended {how}; starting it again")
        while True:
            try:
                await asyncio.to_thread(server.start)
                break
            except AugmentError as error:
                tell(f"{error}; trying again in {pause:.0f} s")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        started = time.monotonic()
        tell("the Prefect server is there again")


def served_from(*, shared_server: bool) -> str:
    """Return who serves: this machine's name where others may serve from the same server, else ""."""
    return platform.node() if shared_server else ""
