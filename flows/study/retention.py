"""Which finished runs may go: none that another one is held against, none that is unfinished, none that is in use."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from data.base.errors import AugmentError, UsageError
from data.base.files import digest_json, read_record
from evaluation.reporting.history import FILES_OF_A_RUN, INDEX_FILE, update_history
from evaluation.reporting.report import read_report
from evaluation.reporting.run_files import ENVIRONMENT_FILE, REPORT_JSON
from flows.study.retrying import patiently
from flows.study.run_directory import locked
from flows.study.store import RunStore

JUDGEMENT_FILE = "judgement.json"
GOING = ".going-"  # before the name of a run that is being removed


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run as pruning sees it.

    Attributes:
        created: when it began.
        configuration: digest of its configuration.
        base: the run that it was held against, "" without one.
        good: whether it was judged, and found no worse.
    """

    name: str
    created: datetime
    configuration: str
    base: str
    good: bool


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What becomes of a run, and why it stays ("" where it goes)."""

    name: str
    kept: str


def fates(runs: RunStore, *, keep: int, older_than: timedelta, now: datetime) -> list[Fate]:
    """Decide which runs may go, oldest first.

    Args:
        keep: so many of the newest finished runs of each configuration stay.
        older_than: younger runs stay.

    Raises:
        UsageError: there is no such place, or it is a run.
    """
    if not patiently(runs.exists) or (runs.is_local and not Path(runs.location).is_dir()):
        raise UsageError(f"{runs.location} is not a directory of runs; name another")
    if patiently(runs.child(ENVIRONMENT_FILE).exists):
        raise UsageError(f"{runs.location} is a run; name the directory that it lies in")
    names = patiently(runs.run_names)
    read = {name: _finished(runs.child(name)) for name in names}
    finished = sorted(
        (run for run in read.values() if isinstance(run, FinishedRun)), key=lambda run: (run.created, run.name)
    )
    reasons = {run.name: _why_kept(run, finished, keep=keep, older_than=older_than, now=now) for run in finished}
    held = {run.base: run.name for run in finished if reasons[run.name] and run.base}
    for name, by in held.items():
        if not reasons.get(name, "unknown"):
            reasons[name] = f"{by} is held against it"
    for link, name in runs.links_inside().items():
        if not reasons.get(name, "unknown"):
            reasons[name] = f"the link {link} leads to it"
    others = [Fate(name=name, kept=why) for name, why in read.items() if isinstance(why, str)]
    return [*others, *(Fate(name=run.name, kept=reasons[run.name]) for run in finished)]


def _why_kept(
    run: FinishedRun, finished: Sequence[FinishedRun], *, keep: int, older_than: timedelta, now: datetime
) -> str:
    same = [other for other in finished if other.configuration == run.configuration]
    if run in same[len(same) - min(keep, len(same)) :]:
        return f"one of the {keep} newest of its configuration"
    if now - run.created < older_than:
        return "not old enough"
    if run == next((other for other in reversed(same) if other.good), None):
        return "the last good run of its configuration"
    return ""


def _finished(run: RunStore) -> FinishedRun | str:
    """Read a run; a text says why it is none that could be judged."""
    with run.fetched(REPORT_JSON, ENVIRONMENT_FILE, JUDGEMENT_FILE) as directory:
        if not (directory / REPORT_JSON).is_file():
            return "unfinished"
        try:
            report = read_report(directory / REPORT_JSON)
            created = datetime.fromisoformat(str(read_record(directory / ENVIRONMENT_FILE)["created"]))
            judgement = read_record(directory / JUDGEMENT_FILE) if (directory / JUDGEMENT_FILE).is_file() else None
        except (AugmentError, KeyError, ValueError, OSError) as error:
            return f"cannot be read ({error})"
    return FinishedRun(
        name=run.name,
        created=created if created.tzinfo else created.replace(tzinfo=UTC),
        configuration=digest_json(report.config),
        base=str(judgement.get("base") or "") if judgement else "",
        good=judgement is not None and not judgement.get("regressions"),
    )


def renew_index(runs: RunStore) -> None:
    """Let the page that lists the runs list those that are left, where there is such a page.

    Raises:
        AugmentError: it cannot be written, or is not of this tool.
    """
    with runs.copied_runs(*FILES_OF_A_RUN, INDEX_FILE) as directory:
        if (directory / INDEX_FILE).is_file():
            runs.push(directory, [update_history(directory)])


def remove_leftovers(runs: RunStore) -> None:
    """Remove what is left of runs whose removal was cut off."""
    for folder in Path(runs.location).glob(f"{GOING}*") if runs.is_local else ():
        shutil.rmtree(folder, ignore_errors=True)


def remove_run(runs: RunStore, name: str) -> None:
    """Remove a run for good.

    Raises:
        AugmentError: somebody works in it, or it cannot be removed.
    """
    run = runs.child(name)
    if not run.is_local:
        with run.owned():
            run.remove()
        return
    directory = Path(run.location)
    if directory.is_symlink():
        raise UsageError(f"{directory} is a link; remove what it leads to by hand")
    busy = AugmentError(f"a process is working in {directory}; it stays")
    with locked(directory / ".lock", busy=busy, advice="it stays"):
        going = directory.with_name(f"{GOING}{name}")
        try:
            directory.rename(going)  # so that a run that is half removed is taken for none
            shutil.rmtree(going)
        except OSError as error:
            raise AugmentError(f"cannot remove {directory}: {error.strerror or error}") from error
