"""What a notebook shows of a report: the answer and the table of arms, without script and without styles of its own."""

from evaluation.reporting.rendering import render_page
from evaluation.reporting.report import StudyReport, needed_sentence, worth_sentence


def report_summary(report: StudyReport) -> str:
    """Return a fragment of HTML; every text in it is escaped."""
    needed = {regime.name: needed_sentence(regime.needed) for regime in report.regimes if regime.needed is not None}
    worth = {
        regime.name: worth_sentence(regime.labels_worth) for regime in report.regimes if regime.labels_worth is not None
    }
    return render_page("summary.html", {"report": report, "needed": needed, "worth": worth})
