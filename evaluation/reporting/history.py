"""The runs of a directory over time: one row per run, finished or not, and `index.html` that links their reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup

from data.base.errors import AugmentError, UsageError
from data.base.files import read_json, write_text
from evaluation.arms import HEADLINE_ARM
from evaluation.gains import Gain
from evaluation.reporting.charts import sparkline
from evaluation.reporting.rendering import points, render_page
from evaluation.reporting.report import StudyReport, read_report
from evaluation.reporting.run_files import CONFIG_FILE, ENVIRONMENT_FILE, REPORT_HTML, REPORT_JSON
from evaluation.verdicts import Verdict

INDEX_FILE = "index.html"
MARKER = '<meta name="generator" content="augmentation-gain: index of runs">'  # in templates/history.html
FILES_OF_A_RUN = (REPORT_JSON, REPORT_HTML, ENVIRONMENT_FILE, CONFIG_FILE)  # what a history is read from

Status = Literal["finished", "unfinished", "broken"]


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One run directory.

    Attributes:
        created: ISO time of its start, or "" where it cannot be told.
        detail: why it is broken or unfinished, or "".
        gains: regime title to headline gain.
        link: path of its page relative to the runs directory, quoted for a URL; None without a page.
    """

    name: str
    status: Status
    detail: str
    created: str
    dataset: str
    verdict: Verdict | None
    gains: dict[str, Gain]
    link: str | None


@dataclass(frozen=True, kw_only=True)
class Sparkline:
    """How the headline gain of one data set and regime went over the finished runs, oldest first."""

    dataset: str
    regime: str
    num_runs: int
    last: float
    chart: Markup


def read_history(runs_directory: Path) -> list[HistoryEntry]:
    """Read all runs below `runs_directory`, oldest first; a damaged one becomes an entry, not an error.

    Raises:
        UsageError: there is no such directory, or it is a run.
    """
    if not runs_directory.is_dir():
        raise UsageError(f"{runs_directory} is not a directory of runs; name another, or start one with `augment run`")
    if (runs_directory / ENVIRONMENT_FILE).is_file():
        raise UsageError(f"{runs_directory} is a run; name the directory that it lies in")
    try:
        directories = [path for path in runs_directory.iterdir() if path.is_dir() and _is_run(path)]
    except OSError as error:
        raise UsageError(f"cannot read {runs_directory}: {error.strerror or error}") from error
    return sorted((_entry(path) for path in directories), key=lambda entry: (entry.created or "0", entry.name))


def history_frame(entries: Sequence[HistoryEntry]) -> pd.DataFrame:
    """Return the history as a table for the terminal: gains in points, control characters in names made visible."""
    rows = []
    for entry in entries:
        row = {
            "run": _visible(entry.name),
            "started": entry.created[:16].replace("T", " "),
            "data set": _visible(entry.dataset),
            "verdict": entry.verdict or entry.status,
        }
        row |= {_visible(title): points(gain.mean) for title, gain in entry.gains.items()}
        rows.append(row | {"note": _visible(entry.detail)})
    frame = pd.DataFrame(rows).fillna("")
    return frame[[column for column in frame if column != "note"] + ["note"]] if len(frame) else frame


def update_history(runs_directory: Path) -> Path:
    """Renew `index.html` of the runs directory and return its path.

    Raises:
        UsageError: there is no such directory, or it has an `index.html` that is not of this tool.
        AugmentError: the page cannot be written.
    """
    path = runs_directory / INDEX_FILE
    page = history_page(runs_directory)
    if not _is_ours(path):
        raise UsageError(f"{path} is not of this tool and stays as it is; give runs a folder of their own")
    write_text(path, page)
    return path


def history_page(runs_directory: Path) -> str:
    """Return the page that lists the runs of a directory.

    Raises:
        UsageError: there is no such directory.
    """
    entries = read_history(runs_directory)
    titles = list(dict.fromkeys(title for entry in entries for title in entry.gains))
    content = {
        "entries": list(reversed(entries)),
        "titles": titles,
        "sparklines": _sparklines(entries, titles),
        "headline_arm": HEADLINE_ARM,
        "num_finished": sum(entry.status == "finished" for entry in entries),
    }
    return render_page("history.html", content)


def _is_ours(path: Path) -> bool:
    """Tell whether an index may be written here: nothing is there, or one that this module made."""
    try:
        return MARKER in path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _is_run(path: Path) -> bool:
    return any((path / name).exists() for name in (REPORT_JSON, CONFIG_FILE, ENVIRONMENT_FILE))


def _entry(directory: Path) -> HistoryEntry:
    report: StudyReport | None = None
    status: Status
    if not (directory / REPORT_JSON).exists():
        status, detail = "unfinished", "no report yet: still running, or stopped"
    else:
        try:
            report = read_report(directory / REPORT_JSON)
            status, detail = "finished", ""
        except AugmentError as error:
            status, detail = "broken", str(error).replace(f"{directory}/", "")
    return HistoryEntry(
        name=directory.name,
        status=status,
        detail=detail,
        created=_created(directory),
        dataset=report.dataset.name if report else "",
        verdict=report.verdict if report else None,
        gains={regime.title: regime.headline for regime in report.regimes} if report else {},
        link=f"./{quote(directory.name, safe='')}/{REPORT_HTML}" if (directory / REPORT_HTML).is_file() else None,
    )


def _created(directory: Path) -> str:
    try:
        created = read_json(directory / ENVIRONMENT_FILE)["created"]
    except (AugmentError, KeyError, TypeError):
        return ""
    return created if isinstance(created, str) else ""


def _sparklines(entries: Sequence[HistoryEntry], titles: Sequence[str]) -> list[Sparkline]:
    found: list[Sparkline] = []
    for dataset in dict.fromkeys(entry.dataset for entry in entries if entry.gains):
        for title in titles:
            gains = [entry.gains[title].mean for entry in entries if entry.dataset == dataset and title in entry.gains]
            if not gains:
                continue
            description = f"Headline gain on {dataset} with {title}, oldest run first: " + ", ".join(
                points(gain) for gain in gains
            )
            chart = sparkline(gains, name=f"spark{len(found)}", description=description)
            found.append(Sparkline(dataset=dataset, regime=title, num_runs=len(gains), last=gains[-1], chart=chart))
    return found


def _visible(text: str) -> str:
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
