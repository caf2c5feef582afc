"""What a long study shows while it runs: one stream of updates, shown on the console and in Prefect."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from flows.config import StudyConfig

PREFECT_INTERVAL_SECONDS = 3.0


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
    stages = ["subset", "generator", "synthetic", "samples", *(f"arm {arm}" for arm in config.evaluation.arms)]
    cells = config.replicates * len(config.data.images_per_class)
    return cells * sum(stage_weight(stage, config) for stage in stages)


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
    """Rich progress: a bar for the study with the time left, a bar for the stage, a line per finished stage."""

    def __init__(self, console: Console, progress: Progress, *, total_weight: float) -> None:
        self._console, self._progress = console, progress
        self._clock = StudyClock(total_weight)
        self._study = progress.add_task("study", total=1.0, detail="? left")
        self._stage = progress.add_task("", total=1.0, detail="", visible=False)

    def update(self, update: StageUpdate) -> None:
        self._clock.update(update)
        self._progress.update(self._study, completed=self._clock.share, detail=self._clock.remaining())
        self._progress.update(
            self._stage,
            description=f"{update.cell} {update.stage}",
            completed=update.share,
            detail=update.detail,
            visible=True,
        )

    def finished(self, update: StageUpdate, *, skipped: bool) -> None:
        self._clock.finished(update, skipped=skipped)
        self._progress.update(self._study, completed=self._clock.share, detail=self._clock.remaining())
        self._progress.update(self._stage, visible=False)
        mark = "[dim]· finished before[/]" if skipped else f"[green]✓[/] {update.detail}"
        self._console.print(f"  {update.cell:<16} {update.stage:<30} {mark}", highlight=False, soft_wrap=True)


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
        Progress(*columns, console=console, transient=True) as progress,
        listening(ConsoleListener(console, progress, total_weight=total_weight)),
    ):
        yield


class PrefectProgress:
    """A progress artifact of the current run, updated at most every few seconds."""

    def __init__(self, name: str, *, description: str) -> None:
        key = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        self._artifact = create_progress_artifact(progress=0.0, key=key, description=description)
        self._next = time.monotonic() + PREFECT_INTERVAL_SECONDS

    def update(self, share: float, detail: str) -> None:
        """Show `share` in [0, 1] and a line of detail."""
        now = time.monotonic()
        if isinstance(self._artifact, UUID) and (now >= self._next or share >= 1.0):
            update_progress_artifact(self._artifact, progress=100 * share, description=detail)
            self._next = now + PREFECT_INTERVAL_SECONDS


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
        self._artifact.update(self._clock.share, f"{update.cell} {update.stage} finished")
