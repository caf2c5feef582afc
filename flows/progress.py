"""What a long study shows while it runs: one stream of updates, shown on the console and in Prefect."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PREFECT_INTERVAL_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class StageUpdate:
    """Where a stage stands. `share` is the finished part in [0, 1]."""

    cell: str
    stage: str
    share: float
    detail: str


class Listener(Protocol):
    """Somebody who watches a study."""

    def update(self, update: StageUpdate) -> None:
        """A stage went on."""

    def finished(self, cell: str, stage: str, *, weight: float, detail: str, skipped: bool) -> None:
        """A stage ended, or was found finished."""


class _Silent:
    def update(self, update: StageUpdate) -> None:
        pass

    def finished(self, cell: str, stage: str, *, weight: float, detail: str, skipped: bool) -> None:
        pass


_SILENT = _Silent()
_listener: ContextVar[Listener | None] = ContextVar("augmentation_study_listener", default=None)


def listener() -> Listener:
    """Return whoever watches the study in this context."""
    return _listener.get() or _SILENT


@contextmanager
def listening(watcher: Listener) -> Iterator[None]:
    """Let `watcher` see the updates of everything that runs inside."""
    token = _listener.set(watcher)
    try:
        yield
    finally:
        _listener.reset(token)


class ConsoleListener:
    """Rich progress: a bar for the study with the time left, a bar for the stage, a line per finished stage."""

    def __init__(self, console: Console, progress: Progress, *, total_weight: float) -> None:
        self._console, self._progress = console, progress
        self._study = progress.add_task("study", total=total_weight, detail="")
        self._stage = progress.add_task("", total=1.0, detail="", visible=False)
        self._finished_weight = 0.0
        self._skipped_weight = 0.0

    def update(self, update: StageUpdate) -> None:
        self._progress.update(
            self._stage,
            description=f"{update.cell} {update.stage}",
            completed=update.share,
            detail=update.detail,
            visible=True,
        )

    def finished(self, cell: str, stage: str, *, weight: float, detail: str, skipped: bool) -> None:
        self._progress.update(self._study, advance=weight)
        self._progress.update(self._stage, visible=False)
        mark = "[dim]·[/] finished before" if skipped else f"[green]✓[/] {detail}"
        self._console.print(f"  {cell:<16} {stage:<32} {mark}", highlight=False)


@contextmanager
def console_progress(console: Console, *, total_weight: float) -> Iterator[None]:
    """Show the study's progress on `console` while the block runs."""
    columns = (
        TextColumn("{task.description:<36}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with (
        Progress(*columns, console=console, transient=True) as progress,
        listening(ConsoleListener(console, progress, total_weight=total_weight)),
    ):
        yield


class PrefectProgress:
    """A progress artifact of the current task run, updated at most every few seconds."""

    def __init__(self, key: str, description: str) -> None:
        self._artifact = create_progress_artifact(progress=0.0, key=key, description=description)
        self._next = time.monotonic() + PREFECT_INTERVAL_SECONDS

    def update(self, share: float, detail: str) -> None:
        """Show `share` in [0, 1] and a line of detail."""
        now = time.monotonic()
        if isinstance(self._artifact, UUID) and (now >= self._next or share >= 1.0):
            update_progress_artifact(self._artifact, progress=100 * share, description=detail)
            self._next = now + PREFECT_INTERVAL_SECONDS
