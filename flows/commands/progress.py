"""A study's progress on the console."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from flows.study.watching import StageUpdate, StudyClock, listening

CONSOLE_REFRESHES = 4  # a second; Rich's ten take 1.6 % of a core


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
        mark = "[dim]· finished before[/]" if skipped else f"[green]✓[/] {escape(update.detail)}"
        self._console.print(f"  {update.cell:<16} {update.stage:<30} {mark}", highlight=False, soft_wrap=True)

    def looked(self, lines: Sequence[str], *, total_weight: float) -> None:
        self._clock.grow(total_weight)
        for line in lines:
            self._console.print(f"[bold]{escape(line)}[/]", highlight=False, soft_wrap=True)

    def noted(self, line: str) -> None:
        self._console.print(f"[yellow]{escape(line)}[/]", highlight=False, soft_wrap=True)

    def _show_study(self) -> None:
        self._progress.update(self._study, completed=self._clock.share, detail=self._clock.remaining())


@contextmanager
def console_progress(console: Console, *, total_weight: float) -> Iterator[None]:
    """Show the study's progress on `console` while the block runs."""
    columns = (
        TextColumn("{task.description:<30}", markup=False),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    with (
        Progress(*columns, console=console, transient=True, refresh_per_second=CONSOLE_REFRESHES) as progress,
        listening(ConsoleListener(console, progress, total_weight=total_weight)),
    ):
        yield
