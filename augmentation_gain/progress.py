"""Progress of what runs for long, where the caller asked for it: in a notebook, or on standard error."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import Any

from rich.console import Console

from flows.commands.progress import console_progress
from flows.study.watching import StageUpdate, StudyClock, listening

REFRESH_SECONDS = 0.25
_NOTEBOOK_SHELL = "ZMQInteractiveShell"


@contextmanager
def shown_progress(wanted: bool, *, total_weight: float) -> Iterator[None]:
    """Show the progress of what runs inside, if it is wanted."""
    if not wanted:
        yield
    elif is_notebook():
        with listening(NotebookListener(total_weight=total_weight)):
            yield
    else:
        with console_progress(Console(stderr=True), total_weight=total_weight):
            yield


def is_notebook() -> bool:
    """Tell whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ == _NOTEBOOK_SHELL


class NotebookListener:
    """One line with a bar below the cell, which needs no widgets."""

    def __init__(self, *, total_weight: float) -> None:
        self._clock = StudyClock(total_weight)
        display: Any = import_module("IPython.display")
        self._html = display.HTML
        self._handle = display.display(self._html(self._line("")), display_id=True)
        self._shown_at = time.monotonic()

    def update(self, update: StageUpdate) -> None:
        self._clock.update(update)
        if time.monotonic() - self._shown_at > REFRESH_SECONDS:
            self._show(f"{update.cell} {update.stage}: {update.detail}")

    def finished(self, update: StageUpdate, *, skipped: bool) -> None:
        self._clock.finished(update, skipped=skipped)
        self._show(f"{update.cell} {update.stage}: {update.detail}")

    def looked(self, lines: Sequence[str], *, total_weight: float) -> None:
        self._clock.grow(total_weight)
        self._show("; ".join(lines))

    def noted(self, line: str) -> None:
        self._show(line)

    def _show(self, detail: str) -> None:
        self._shown_at = time.monotonic()
        self._handle.update(self._html(self._line(detail)))

    def _line(self, detail: str) -> str:
        share = self._clock.share
        left = "finished" if share >= 1 else self._clock.remaining()
        return f'<progress max="1" value="{share:.3f}"></progress> {share:.0%}, {left} <code>{escape(detail)}</code>'
