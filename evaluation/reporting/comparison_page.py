"""The comparison of runs as a page, with the same figures as JSON beside it."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from data.base.errors import CorruptFileError, UsageError
from data.base.files import read_record, write_text
from evaluation.arms import HEADLINE_ARM
from evaluation.reporting.charts import TrendLine, trend_chart
from evaluation.reporting.comparison import HEADLINE, Comparison, RegimeComparison
from evaluation.reporting.rendering import interval, points, render_page


def write_comparison(path: Path, comparison: Comparison) -> Path:
    """Write the page to `path` and its figures to the JSON file of the same name; return the JSON file's path.

    Raises:
        UsageError: a JSON file of that name is there that holds no comparison, such as a run's report.
        AugmentError: one of them cannot be written.
    """
    json_path = path.with_suffix(".json")
    if json_path.exists() and not _is_comparison(json_path):
        raise UsageError(f"{json_path} is there and holds no comparison, so it stays as it is; choose another --output")
    content = {
        "comparison": comparison,
        "charts": [_chart(comparison, regime, number) for number, regime in enumerate(comparison.regimes)],
        "headline": HEADLINE,
        "headline_arm": HEADLINE_ARM,
        "arms": list(comparison.regimes[0].results[0].accuracy),
        "any_unpaired": any(not difference.paired for difference in comparison.differences),
        "json_name": json_path.name,
    }
    page = render_page("comparison.html", content)
    write_text(json_path, comparison.model_dump_json(indent=2) + "\n")
    write_text(path, page)
    return json_path


def _is_comparison(path: Path) -> bool:
    try:
        return "comparison_version" in read_record(path)
    except CorruptFileError:
        return False


def write_not_compared(path: Path, *, name: str, reasons: Sequence[str]) -> None:
    """Write a page that says why a run was compared with no other one.

    Raises:
        AugmentError: it cannot be written.
    """
    write_text(path, render_page("not_compared.html", {"name": name, "reasons": list(reasons)}))


def _chart(comparison: Comparison, regime: RegimeComparison, number: int) -> Markup:
    by_run = {result.run: result.headline for result in regime.results}
    gains = [by_run.get(run.name) for run in comparison.runs]
    line = TrendLine(
        label=regime.title,
        means=[gain.mean if gain else None for gain in gains],
        intervals=[
            (gain.low, gain.high) if gain and gain.low is not None and gain.high is not None else None for gain in gains
        ],
    )
    description = f"Headline gain of each run with {regime.title}: " + "; ".join(
        f"{result.run} {points(result.headline.mean)} points, interval "
        f"{interval(result.headline.low, result.headline.high)}"
        for result in regime.results
    )
    names = [run.name for run in comparison.runs]
    return trend_chart(line, names=names, name=f"trend{number}", description=description)
