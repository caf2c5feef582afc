"""What was measured on the synthetic images themselves, over the replicates of each regime, as rows of a page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.fidelity import Measurement
from evaluation.reporting.report import RegimeReport, StudyCheck, StudyReport
from evaluation.samples import SampleEvaluation

FIDELITY_TITLES = {
    "fid": "FID (0 is best)",
    "kid": "KID (0 is best)",
    "precision": "precision: samples look real (1 is best)",
    "recall": "recall: real images could be samples (1 is best)",
    "density": "density (near 1)",
    "coverage": "coverage: real images with a sample near (1 is best)",
    "diversity": "diversity within classes (near 1)",
}


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """One check of one regime.

    Attributes:
        figures: of the replicates in which the check could be made.
        num_passed, num_watched, num_failed: replicates by grade.
        detail: of a failed replicate where there is one, else of one on watch, else of the first.
    """

    name: str
    regime: str
    num_passed: int
    num_failed: int
    num_watched: int
    num_unavailable: int
    figures: tuple[float, ...]
    threshold: float | None
    detail: str

    @property
    def made(self) -> bool:
        """Tell whether the check could be made in any replicate."""
        return self.num_passed + self.num_watched + self.num_failed > 0


@dataclass(frozen=True, kw_only=True)
class FidelityRow:
    """One figure of one regime: mean over replicates, beside its floor (real images in the samples' place)."""

    name: str
    regime: str
    synthetic: float | None
    floor: float | None


def check_rows(report: StudyReport) -> list[CheckRow]:
    """Gather the checks of the study itself, and each of the samples over the replicates; failed ones come first."""
    rows = [_study_row(check, regime) for regime in report.regimes for check in regime.checks]
    for title, cells in _evaluated(report):
        for checks in zip(*(cell.checks for cell in cells), strict=True):
            failed = [check for check in checks if check.grade == "failed"]
            watched = [check for check in checks if check.grade == "watch"]
            rows.append(
                CheckRow(
                    name=checks[0].name,
                    regime=title,
                    num_passed=sum(check.grade == "passed" for check in checks),
                    num_failed=len(failed),
                    num_watched=len(watched),
                    num_unavailable=sum(check.grade is None for check in checks),
                    figures=tuple(check.figure for check in checks if check.figure is not None),
                    threshold=checks[0].threshold,
                    detail=(failed or watched or checks)[0].detail,
                )
            )
    return sorted(rows, key=lambda row: (row.num_failed == 0, row.num_watched == 0))


def membership_sentences(report: StudyReport) -> list[tuple[str, str]]:
    """Return what samples and generator of each regime tell about who was in training; of the replicate whose samples
    tell most."""
    found = []
    for title, cells in _evaluated(report):
        worst = max(
            (cell.membership for cell in cells), key=lambda it: -1.0 if it.samples.auc is None else it.samples.auc
        )
        found.append((title, worst.sentence()))
    return found


def fidelity_rows(report: StudyReport) -> list[FidelityRow]:
    """Gather the overall fidelity figures over the replicates of each regime."""
    rows = []
    for title, cells in _evaluated(report):
        pairs = [cell.fidelity.overall for cell in cells]
        for key, name in FIDELITY_TITLES.items():
            rows.append(
                FidelityRow(
                    name=name,
                    regime=title,
                    synthetic=_mean([getattr(pair.synthetic, key) for pair in pairs]),
                    floor=_mean([getattr(pair.floor, key) for pair in pairs]),
                )
            )
    return rows


def _study_row(check: StudyCheck, regime: RegimeReport) -> CheckRow:
    return CheckRow(
        name=check.name,
        regime=regime.title,
        num_passed=int(check.passed is True),
        num_failed=int(check.passed is False),
        num_watched=0,
        num_unavailable=int(check.passed is None),
        figures=(),
        threshold=None,
        detail=check.detail,
    )


def _evaluated(report: StudyReport) -> list[tuple[str, list[SampleEvaluation]]]:
    groups = [
        (regime.title, [cell.samples for cell in report.cells if cell.regime == regime.name and cell.samples])
        for regime in report.regimes
    ]
    return [(title, cells) for title, cells in groups if cells]


def _mean(figures: Sequence[Measurement]) -> float | None:
    known = [figure.value for figure in figures if figure.value is not None]
    return float(np.mean(known)) if known else None
