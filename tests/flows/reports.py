"""What the tests of flows compare two runs by."""

from pathlib import Path

from evaluation.reporting.report import read_report


def figures(location: Path) -> dict[str, object]:
    """Return all of a run's report but its timings."""
    return read_report(location / "report.json").model_dump(exclude={"timings"})
