"""A study's report as Python hands it out: a `StudyReport` that shows itself in notebooks."""

from pathlib import Path

from evaluation.reporting.report import StudyReport, read_report
from evaluation.reporting.summary import report_summary


class Report(StudyReport, frozen=True, extra="forbid"):
    """The whole report of a study, as `report.json` holds it."""

    def _repr_html_(self) -> str:
        return report_summary(self)


def report_at(path: Path) -> Report:
    """Read a `report.json`.

    Raises:
        CorruptFileError: missing, damaged, or written by another version.
    """
    found = read_report(path)
    return Report.model_construct(**{name: getattr(found, name) for name in StudyReport.model_fields})
