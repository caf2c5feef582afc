"""Studies that grow: a finished run gets more replicates, or continues until it is decided or the budget is spent.

The looks at which a study may stop, and the error rates that hold under that, are `evaluation.stopping`'s.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, Field, PositiveInt

from data.base.errors import UsageError
from evaluation.reporting.report import StudyReport, in_points
from evaluation.stopping import FIRST_LOOK, looks
from evaluation.verdicts import is_decided
from flows.study.run_directory import looks_at
from flows.study.running import OpenStudy
from flows.study.stages.table import study_weight
from flows.study.watching import listeners

LEAST_REPLICATES = 2  # that an interval can be made of


class Until(BaseModel, frozen=True, extra="forbid"):
    """When a study that runs until it is decided stops all the same."""

    max_replicates: PositiveInt = Field(default=200, description="of each regime")
    budget_seconds: float | None = Field(default=None, gt=0, description="None: none")


@dataclass
class _Pace:
    """How fast replicates come, going by those that this process has run."""

    started: float
    replicates: int = 0

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self.started

    def affordable(self, until: Until) -> float:
        """Return how many more replicates the budget has time for."""
        if until.budget_seconds is None:
            return float("inf")
        left = until.budget_seconds - self.elapsed_seconds
        return max(0.0, left * self.replicates / max(self.elapsed_seconds, 1e-9))


def run_until_decided(study: OpenStudy, until: Until, run_cells: Callable[[OpenStudy], None]) -> StudyReport:
    """Add replicates and report at each look, until every regime is decided or nothing more is allowed.

    Args:
        study: a new one, or one with some replicates.
        run_cells: runs all cells of a study that are not finished.

    Raises:
        UsageError: the budget is too short for two replicates.
    """
    folds = max(design.folds for design in study.designs.values())
    there = looks_at(study.directory).replicates
    pace = _Pace(started=time.monotonic())
    first = LEAST_REPLICATES if folds == 1 else folds
    if there < first:
        if study.config.num_replicates == 1:
            run_cells(study)
            _check_budget(study, until, pace=pace, replicates=first)
        study = study.grown(first)
        run_cells(study)
        pace.replicates, there = first, first
    report: StudyReport | None = None
    for wanted in looks(first=FIRST_LOOK, multiple_of=folds, after=0 if there <= FIRST_LOOK else there):
        affordable = there + pace.affordable(until) if pace.replicates else wanted
        most = int(min(wanted, until.max_replicates, affordable))
        look = max(there, most - most % folds)
        if look > there:
            study = study.grown(look)
            run_cells(study)
            pace.replicates += look - there
        report = study.report(final=look < wanted)
        _tell(study, report)
        if look < wanted or all(is_decided(regime.headline.verdict) for regime in report.regimes):
            break
        there = look
    assert report is not None  # there is always a look
    return report


def _check_budget(study: OpenStudy, until: Until, *, pace: _Pace, replicates: int) -> None:
    """Go by the time of one replicate whether so many fit into the budget."""
    needed = pace.elapsed_seconds * replicates
    if until.budget_seconds is not None and needed > until.budget_seconds:
        raise UsageError(
            f"a budget of {until.budget_seconds:.0f} s is too short for {replicates} replicates, which take about "
            f"{needed:.0f} s here; what is finished is kept: continue with --resume {study.store.location} and a "
            "longer --budget"
        )


def _tell(study: OpenStudy, report: StudyReport) -> None:
    lines = []
    for regime in report.regimes:
        gain = regime.headline
        interval = "no interval yet"
        if gain.low is not None and gain.high is not None:
            interval = f"{in_points(gain.low)} to {in_points(gain.high)}"
        lines.append(
            f"{regime.title}, {regime.num_replicates} replicates: {in_points(gain.mean)} points ({interval}), "
            f"{gain.verdict}"
        )
    for listener in listeners():
        listener.looked(lines, total_weight=study_weight(study.config))
