"""`augment compare`: how several runs differ, how surely, and whether a later one is worse."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.base.errors import RegressionError, UsageError
from evaluation.arms import HEADLINE_ARM
from evaluation.reporting.comparison import Comparison, NamedReport, compare_reports
from evaluation.reporting.comparison_page import write_comparison
from evaluation.reporting.rendering import interval, p_value, points
from evaluation.reporting.report import read_report
from evaluation.reporting.run_files import REPORT_HTML, REPORT_JSON
from flows.commands.console import output_console
from flows.commands.paths import path_option
from flows.study.store import store_of


def compare(
    runs: Annotated[list[str], typer.Argument(help="runs (directories or URLs), or report.json files; first the base")],
    output: Annotated[
        Path,
        path_option("the page to write; its figures go to a .json beside it"),
    ] = Path("comparison.html"),
    force: Annotated[bool, typer.Option("--force", help="compare runs whose data or protocol differ")] = False,
    fail_on_regression: Annotated[
        bool, typer.Option("--fail-on-regression", help="exit with 3 where a later run is worse beyond the interval")
    ] = False,
) -> None:
    """Compare runs: differences with intervals, best run per regime, trend, and what differs in configuration.

    Differences are paired where the runs drew the same subsets, and Welch's otherwise; wider where there are folds.
    """
    if output.suffix != ".html":
        raise UsageError(f"--output {output} must end in .html; the figures are written beside it as .json")
    comparison = compare_reports(named_reports(runs, page=output), force=force)
    json_path = write_comparison(output, comparison)
    console = output_console()
    print_comparison(console, comparison)
    console.print(f"{output}\n{json_path}", markup=False, highlight=False, soft_wrap=True)
    if fail_on_regression and comparison.unjudged:
        console.print(
            f"--fail-on-regression: nothing could be judged ({comparison.unjudged})",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if fail_on_regression and comparison.regressions:
        raise RegressionError("; ".join(comparison.regressions))


def named_reports(runs: Sequence[str | Path], *, page: Path) -> list[NamedReport]:
    """Read the runs' reports; each gets its directory's name, numbered where two share it, and a link from `page`.

    Raises:
        UsageError: a path that is neither a run with a report nor a report.
        CorruptFileError: a report that cannot be read.
    """
    found: list[NamedReport] = []
    for run in runs:
        store = store_of(run)
        with store.fetched(REPORT_JSON) as directory:
            file = directory if directory.is_file() else directory / REPORT_JSON
            if not file.is_file():
                raise UsageError(f"{run} holds no {REPORT_JSON}; name a finished run's directory, or its report")
            report = read_report(file)
            if store.is_local:
                plain = file.resolve().parent.name or str(file)
                target = os.path.relpath(file.resolve().parent / REPORT_HTML, page.resolve().parent)
                link = quote(Path(target).as_posix())
            else:
                plain, link = store.name, store.link(REPORT_HTML)
        name, count = plain, 1
        while any(other.name == name for other in found):
            count += 1
            name = f"{plain} #{count}"
        found.append(NamedReport(name=name, link=link, report=report))
    return found


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the headline differences as a table, then best runs, trends and what was forced."""
    if comparison.forced:
        console.print("[bold red]FORCED: these runs are not comparable[/]")
        for reason in comparison.reasons:
            console.print(f"  {reason}", markup=False, highlight=False)
    for number, run in enumerate(comparison.runs, start=1):
        console.print(f"run {number}: {run.name}, {run.dataset}", markup=False, highlight=False)
    numbers = {run.name: str(number) for number, run in enumerate(comparison.runs, start=1)}
    table = Table(title=f"gain of {HEADLINE_ARM} over {comparison.rivals}, in points of accuracy", title_justify="left")
    table.add_column("regime", no_wrap=True)
    table.add_column("run", justify="right", no_wrap=True)
    table.add_column("over")
    for column in ("gain", "against run 1", "p (corrected)"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("result")
    for regime in comparison.regimes:
        for place, result in enumerate(regime.results):
            difference = comparison.difference(run=result.run, regime=regime.name)
            judged = ("", "", "")
            if difference is not None:
                test = "" if difference.paired else " (Welch: other subsets)"
                size = f"{points(difference.mean)} [{interval(difference.low, difference.high)}]"
                judged = (escape(size), p_value(difference.p_corrected), difference.change + test)
            title = escape(regime.title) if place == 0 else ""
            table.add_row(title, numbers[result.run], result.over, points(result.headline.mean), *judged)
        table.add_section()
    console.print(table)
    for regime in comparison.regimes:
        best, surely = regime.best, "clearly" if regime.best.clear else "not measurably"
        line = f"best with {regime.title}: {best.run} ({points(best.gain)}), {surely} ahead of {best.second}"
        if regime.trend:
            line += f"; trend {points(regime.trend.slope)} points per run (p {p_value(regime.trend.p_value)})"
        console.print(line, markup=False, highlight=False)
    for about in dict.fromkeys(regime.about for regime in comparison.regimes):
        console.print(about, markup=False, highlight=False)
    for change in comparison.configuration:
        values = " | ".join("not set" if value is None else value for value in change.values)
        console.print(f"{change.key}: {values}", markup=False, highlight=False)
