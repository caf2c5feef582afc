"""A cell as a worker meets it: opened wherever the run lies, and locked so that one process at a time works in it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from filelock import FileLock, Timeout

from data.base.errors import AugmentError
from data.regimes import Regime
from flows.study.engine import Stage
from flows.study.retrying import patiently
from flows.study.run_directory import Cell
from flows.study.store import RunStore

LOCK_SECONDS = 300.0  # for a worker that a lost study left behind, and that is still finishing a stage


@dataclass(frozen=True)
class OpenCell:
    """A cell whose files can be worked on in `cell.directory`."""

    store: RunStore
    cell: Cell
    keep_old_stages: bool = False
    _unpushed: set[str] = field(default_factory=set)

    def push_stage(self, stage: Stage) -> None:
        """Let the run hold what a finished stage made."""
        self._unpushed.add(stage.name)
        self.store.push_stage(
            self.cell.run_directory,
            outputs=stage.outputs(),
            record=stage.record_file,
            keep=self.cell.directory,
        )
        self._unpushed.discard(stage.name)

    def push_again(self, stage: Stage) -> None:
        """Let the run hold a finished stage whose files could not be pushed when it ended, if it is one."""
        if stage.name in self._unpushed:
            self.push_stage(stage)

    def push_logs(self, stage: Stage) -> None:
        """Let the run hold what a stage that failed has logged, where it can."""
        logs = sorted(stage.output.glob("*.log")) if stage.output.is_dir() else []
        with suppress(AugmentError):
            self.store.push(self.cell.run_directory, logs)

    def push_summary(self) -> None:
        """Let the run hold the summary that marks the cell as finished."""
        patiently(lambda: self.store.push(self.cell.run_directory, [self.cell.summary_file]))


@dataclass(frozen=True)
class CellPlace:
    """One (regime, replicate) of a run, wherever that lies; what a worker is sent."""

    store: RunStore
    regime: Regime
    replicate: int
    keep_old_stages: bool = False

    @property
    def name(self) -> str:
        return f"{self.regime.name}/{self.replicate}"

    @contextmanager
    def opened(self) -> Iterator[OpenCell]:
        """Yield the cell with all files that it has so far.

        Raises:
            AugmentError: another process is working in it, and continues to.
        """
        with self.store.workspace() as directory:
            cell = Cell(directory, self.regime, self.replicate)
            with _locked(cell):
                folder = cell.directory.relative_to(directory).as_posix()
                patiently(lambda: self.store.pull_folder(directory, folder))
                yield OpenCell(self.store, cell, self.keep_old_stages)


@contextmanager
def _locked(cell: Cell) -> Iterator[None]:
    try:
        cell.directory.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(cell.directory.with_name(f".{cell.replicate}.lock"), timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise AugmentError(
            f"another process is still working in {cell.directory}; wait for it, or end it, and continue with --resume"
        ) from error
