"""What a long study shows while it runs: one stream of updates, shown on the console and in Prefect."""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.context import SettingsContext, get_settings_context
from prefect.exceptions import PrefectException
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from flows.study.config import StudyConfig

PREFECT_INTERVAL_SECONDS = 3.0
REMOTE_INTERVAL_SECONDS = 2.0
CONSOLE_REFRESHES = 4  # a second; Rich's ten take 1.6 % of a core
REMOTE_ARTIFACTS = 100  # of those changed last; more stages than these do not change within a second
SERVER_ERRORS = (httpx.HTTPError, PrefectException, ConcurrencySlotAcquisitionError)  # what an unreachable server gives
AWAY_SECONDS = 60.0  # without a request for progress once one has failed
PROGRESS_RETRIES = 1  # of requests that only show progress: a study does not wait long for a server that is gone


@dataclass(frozen=True, kw_only=True)
class StageUpdate:
    """Where a stage stands.

    Attributes:
        weight: the stage's expected share of the study's work, in seconds of a common laptop.
        share: its finished part in [0, 1].
    """

    cell: str
    stage: str
    weight: float
    share: float
    detail: str


class Listener(Protocol):
    """Somebody who watches a study."""

    def update(self, update: StageUpdate) -> None:
        """A stage went on."""

    def finished(self, update: StageUpdate, *, skipped: bool) -> None:
        """A stage ended, or was found finished."""


_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("augmentation_study_listeners", default=())


def listeners() -> tuple[Listener, ...]:
    """Return whoever watches the study in this context."""
    return _listeners.get()


@contextmanager
def listening(watcher: Listener) -> Iterator[None]:
    """Let `watcher` too see the updates of everything that runs inside."""
    token = _listeners.set((*_listeners.get(), watcher))
    try:
        yield
    finally:
        _listeners.reset(token)


def stage_weight(stage: str, config: StudyConfig) -> float:
    """Return roughly how long a stage takes, in seconds; only the ratios matter."""
    if stage == "generator":
        return config.gan.steps * config.gan.batch_size / 3000
    if stage.startswith("arm "):
        classifier = config.evaluation.classifier
        return 1 + classifier.steps * classifier.batch_size / 6000 if classifier.kind == "convnet" else 2.0
    return 3.0 if stage == "samples" else 1.0


def study_weight(config: StudyConfig) -> float:
    """Return the sum of the weights of all stages of all cells."""
    cells = config.replicates * len(config.data.images_per_class)
    return cells * sum(stage_weight(stage, config) for stage in study_stages(config))


def study_stages(config: StudyConfig) -> list[str]:
    """Return the names of the stages of each cell, in order."""
    return ["subset", "generator", "synthetic", "samples", *(f"arm {arm}" for arm in config.evaluation.arms)]


class StudyClock:
    """How much of a study is done and how long the rest takes, going by the work done so far in this process."""

    def __init__(self, total_weight: float) -> None:
        self._total = total_weight
        self._finished = self._skipped = 0.0
        self._current: dict[tuple[str, str], float] = {}
        self._started = time.monotonic()

    def update(self, update: StageUpdate) -> None:
        """Count the finished part of a stage."""
        self._current[update.cell, update.stage] = update.weight * update.share

    def finished(self, update: StageUpdate, *, skipped: bool) -> None:
        """Count a finished stage; a skipped one cost no time."""
        self._current.pop((update.cell, update.stage), None)
        self._finished += update.weight
        self._skipped += update.weight if skipped else 0.0

    @property
    def share(self) -> float:
        """The finished part of the study in [0, 1]."""
        return min(1.0, (self._finished + sum(self._current.values())) / self._total)

    def remaining(self) -> str:
        """Return the expected time left as text, `?` while there is nothing to go by."""
        worked = self.share * self._total - self._skipped
        if worked < 1.0:
            return "? left"
        seconds = (1 - self.share) * self._total * (time.monotonic() - self._started) / worked
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"


class ConsoleListener:
    """Rich progress: a bar for the study with the time left, one for each running cell, a line per finished stage."""

    def __init__(self, console: Console, progress: Progress, *, total_weight: float) -> None:
        self._console, self._progress = console, progress
        self._clock = StudyClock(total_weight)
        self._study = progress.add_task("study", total=1.0, detail="? left")
        self._cells: dict[str, TaskID] = {}

    def update(self, update: StageUpdate) -> None:
        self._clock.update(update)
        self._show_study()
        if update.cell not in self._cells:
            self._cells[update.cell] = self._progress.add_task("", total=1.0, detail="")
        description = f"{update.cell} {update.stage}"
        self._progress.update(
            self._cells[update.cell], description=description, completed=update.share, detail=update.detail
        )

    def finished(self, update: StageUpdate, *, skipped: bool) -> None:
        self._clock.finished(update, skipped=skipped)
        self._show_study()
        shown = self._cells.pop(update.cell, None)
        if shown is not None:
            self._progress.remove_task(shown)
        mark = "[dim]· finished before[/]" if skipped else f"[green]✓[/] {update.detail}"
        self._console.print(f"  {update.cell:<16} {update.stage:<30} {mark}", highlight=False, soft_wrap=True)

    def _show_study(self) -> None:
        self._progress.update(self._study, completed=self._clock.share, detail=self._clock.remaining())


@contextmanager
def console_progress(console: Console, *, total_weight: float) -> Iterator[None]:
    """Show the study's progress on `console` while the block runs."""
    columns = (
        TextColumn("{task.description:<30}"),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with (
        Progress(*columns, console=console, transient=True, refresh_per_second=CONSOLE_REFRESHES) as progress,
        listening(ConsoleListener(console, progress, total_weight=total_weight)),
    ):
        yield


def artifact_key(name: str) -> str:
    """Return the key that Prefect allows for a thing of this name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


class ServerAwayError(PrefectException):
    """The server did not answer a moment ago, and is not asked again yet."""


_away_until = 0.0  # by this process's clock


@contextmanager
def few_retries() -> Iterator[None]:
    """Let requests inside be retried once, not many times: for those that only show progress.

    After one that failed all others fail at once for a minute, so that a study does not wait at every stage for a
    server that is gone.

    This copies two of Prefect's settings objects. Its own `temporary_settings` reads and validates all settings anew,
    20 ms of a core for a request of 5: too much several times a second beside workers that fill the cores.
    """
    global _away_until
    if time.monotonic() < _away_until:
        raise ServerAwayError("Prefect's server did not answer a moment ago")
    context = get_settings_context()
    hasty = context.settings.client.model_copy(update={"max_retries": PROGRESS_RETRIES})
    with SettingsContext(profile=context.profile, settings=context.settings.model_copy(update={"client": hasty})):
        try:
            yield
        except SERVER_ERRORS:
            _away_until = time.monotonic() + AWAY_SECONDS
            raise


class PrefectProgress:
    """A progress artifact of the current run, updated at most every few seconds.

    Progress is for watching: where the server cannot be reached it is not shown, and the work goes on.
    """

    def __init__(self, name: str, *, description: str) -> None:
        self._artifact: object = None
        self._next = time.monotonic() + PREFECT_INTERVAL_SECONDS
        with suppress(*SERVER_ERRORS), few_retries():
            self._artifact = create_progress_artifact(progress=0.0, key=artifact_key(name), description=description)

    def update(self, share: float, detail: str) -> None:
        """Show `share` in [0, 1] and a line of detail, unless that was done a moment ago; all is `finish`'s to say."""
        if share < 1.0 and time.monotonic() >= self._next:
            self._send(share, detail)

    def finish(self, detail: str) -> None:
        """Show that all is done, and how it went."""
        self._send(1.0, detail)

    def _send(self, share: float, detail: str) -> None:
        if isinstance(self._artifact, UUID):
            try:
                with few_retries():
                    update_progress_artifact(self._artifact, progress=100 * share, description=detail)
            except SERVER_ERRORS:
                self._artifact = None
        self._next = time.monotonic() + PREFECT_INTERVAL_SECONDS


class PrefectStudyListener:
    """The study's own progress artifact."""

    def __init__(self, name: str, *, total_weight: float) -> None:
        self._clock = StudyClock(total_weight)
        self._artifact = PrefectProgress(f"study {name}", description=f"study {name}")

    def update(self, update: StageUpdate) -> None:
        self._clock.update(update)
        self._artifact.update(self._clock.share, f"{update.cell} {update.stage}: {update.detail}")

    def finished(self, update: StageUpdate, *, skipped: bool) -> None:
        self._clock.finished(update, skipped=skipped)
        if self._clock.share < 1.0:
            self._artifact.update(self._clock.share, f"{update.cell} {update.stage} finished")
        else:
            self._artifact.finish("all cells finished")


@dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """How a stage ended, as a worker tells it."""

    update: StageUpdate
    skipped: bool


class OutcomeListener:
    """Collects how the stages of a cell ended, to send that from a worker to the study's process."""

    def __init__(self) -> None:
        self.outcomes: list[StageOutcome] = []

    def update(self, update: StageUpdate) -> None:
        pass

    def finished(self, update: StageUpdate, *, skipped: bool) -> None:
        self.outcomes.append(StageOutcome(update=update, skipped=skipped))


class RemoteProgress:
    """Passes on what stages do in other processes, going by their progress artifacts on Prefect's server.

    A cell's outcomes, which come with its result, fill in what the artifacts did not tell.
    """

    def __init__(self, config: StudyConfig, *, cells: Iterable[str], flow_run_id: UUID) -> None:
        self._stages = {
            artifact_key(f"{stage} {cell}"): (cell, stage, stage_weight(stage, config))
            for cell in cells
            for stage in study_stages(config)
        }
        self._flow_run_id = flow_run_id
        self._told: set[tuple[str, str]] = set()
        self._next = 0.0

    def poll(self) -> None:
        """Ask the server how far the stages are, at most every few seconds."""
        if time.monotonic() < self._next:
            return
        with suppress(*SERVER_ERRORS), few_retries():
            for artifact in self._read():
                found = self._stages.get(artifact.key or "")
                if found is not None and found[:2] not in self._told:
                    cell, stage, weight = found
                    share = float(artifact.data or 0) / 100  # type: ignore[arg-type]
                    self._tell(
                        StageUpdate(
                            cell=cell, stage=stage, weight=weight, share=share, detail=artifact.description or ""
                        )
                    )
        self._next = time.monotonic() + REMOTE_INTERVAL_SECONDS

    def finished(self, outcomes: Iterable[StageOutcome]) -> None:
        """Tell of the stages of a finished cell that nobody has been told of yet."""
        for outcome in outcomes:
            place = (outcome.update.cell, outcome.update.stage)
            if place not in self._told:
                self._told.add(place)
                for listener in listeners():
                    listener.finished(outcome.update, skipped=outcome.skipped)

    def _tell(self, update: StageUpdate) -> None:
        if update.share >= 1.0:
            self.finished([StageOutcome(update=update, skipped=False)])
            return
        for listener in listeners():
            listener.update(update)

    def _read(self) -> list[Artifact]:
        with get_client(sync_client=True) as client:
            found: list[Artifact] = client.read_artifacts(
                artifact_filter=ArtifactFilter(
                    flow_run_id=ArtifactFilterFlowRunId(any_=[self._flow_run_id]),
                    type=ArtifactFilterType(any_=["progress"]),
                ),
                sort=ArtifactSort.UPDATED_DESC,
                limit=REMOTE_ARTIFACTS,
            )
        return found
