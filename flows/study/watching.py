"""What a long study tells while it runs: one stream of updates, to whoever watches."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol


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
        """A stage made progress."""

    def finished(self, update: StageUpdate, *, skipped: bool) -> None:
        """A stage ended, or was found finished."""

    def looked(self, lines: Sequence[str], *, total_weight: float) -> None:
        """The study reported what it knows so far, a line for each regime; it now has so much work in all."""

    def noted(self, line: str) -> None:
        """Something that people should know before it is done."""


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

    def looked(self, lines: Sequence[str], *, total_weight: float) -> None:
        pass

    def noted(self, line: str) -> None:
        pass


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

    def grow(self, total_weight: float) -> None:
        """Take in that the study has more work than was known."""
        self._total = max(total_weight, self._finished)

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
