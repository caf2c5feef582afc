"""What was measured on the synthetic images themselves, over the replicates of each regime, as rows of a page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.arms import CONTROL_ARM
from evaluation.fidelity import Figure
from evaluation.reporting.report import RegimeReport, StudyReport, in_points
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
        detail: of a failed replicate where there is one, else of the first.
    """

    name: str
    regime: str
    num_passed: int
    num_failed: int
    num_unavailable: int
    figures: tuple[float, ...]
    threshold: float | None
    detail: str

    @property
    def made(self) -> bool:
        """Tell whether the check could be made in any replicate."""
        return self.num_passed + self.num_failed > 0


@dataclass(frozen=True, kw_only=True)
class FidelityRow:
    """One figure of one regime: mean over replicates, beside its floor (real images in the samples' place)."""

    name: str
    regime: str
    synthetic: float | None
    floor: float | None


def check_rows(report: StudyReport) -> list[CheckRow]:
    """Gather each check over the replicates of each regime, and the control; failed ones come first."""
    rows = [_control_row(regime) for regime in report.regimes if any(arm.name == CONTROL_ARM for arm in regime.arms)]
    for title, cells in _evaluated(report):
        for checks in zip(*(cell.checks for cell in cells), strict=True):
            failed = [check for check in checks if check.passed is False]
            rows.append(
                CheckRow(
                    name=checks[0].name,
                    regime=title,
                    num_passed=sum(check.passed is True for check in checks),
                    num_failed=len(failed),
                    num_unavailable=sum(check.passed is None for check in checks),
                    figures=tuple(check.figure for check in checks if check.figure is not None),
                    threshold=checks[0].threshold,
                    detail=(failed or checks)[0].detail,
                )
            )
    return sorted(rows, key=lambda row: row.num_failed == 0)


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


def _control_row(regime: RegimeReport) -> CheckRow:
    """Judge the control: repeating the real images adds nothing, so a gain there would be an artefact."""
    gain = regime.arm(CONTROL_ARM).accuracy_gain
    assert gain is not None  # the control has a reference
    known = not gain.unavailable
    interval = gain.unavailable
    if gain.low is not None and gain.high is not None:
        interval = f"interval {in_points(gain.low)} to {in_points(gain.high)}"
    return CheckRow(
        name="control: duplicated real images show no gain",
        regime=regime.title,
        num_passed=int(known and gain.verdict != "helps"),
        num_failed=int(gain.verdict == "helps"),
        num_unavailable=int(not known),
        figures=(),
        threshold=None,
        detail=f"{in_points(gain.mean)} points, {interval}",
    )


def _evaluated(report: StudyReport) -> list[tuple[str, list[SampleEvaluation]]]:
    groups = [
        (regime.title, [cell.samples for cell in report.cells if cell.regime == regime.name and cell.samples])
        for regime in report.regimes
    ]
    return [(title, cells) for title, cells in groups if cells]


def _mean(figures: Sequence[Figure]) -> float | None:
    known = [figure.value for figure in figures if figure.value is not None]
    return float(np.mean(known)) if known else None
