"""`augment prune`: remove old runs, and what Prefect's database holds of them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console

from data.base.errors import AugmentError, UsageError, message_of
from flows.study.retention import fates, remove_leftovers, remove_run, renew_index
from flows.study.run_directory import DEFAULT_RUNS_DIRECTORY
from flows.study.store import RunStore, store_of

AGE = re.compile(r"(\d+(?:\.\d+)?)([dhw])")
HOURS = {"h": 1, "d": 24, "w": 7 * 24}


def prune(
    runs_directory: Annotated[str, typer.Argument(help="where the runs are: a directory or a URL")] = str(
        DEFAULT_RUNS_DIRECTORY
    ),
    keep: Annotated[int, typer.Option(min=1, help="so many of the newest runs of each configuration stay")] = 30,
    older_than: Annotated[str, typer.Option(help="younger runs stay: 90d, 12w, 36h")] = "90d",
    database: Annotated[
        bool, typer.Option("--database", help="flow runs in Prefect's database too, by the same rule")
    ] = False,
    delete: Annotated[bool, typer.Option("--delete", help="remove them, instead of saying what would go")] = False,
) -> None:
    """Say which old runs would go, or remove them.

    A run that another one is held against stays, and so does one that is unfinished, unreadable or in use.
    """
    console, runs = Console(soft_wrap=True, markup=False, highlight=False), store_of(runs_directory)
    oldest = age(older_than)
    _prune_runs(runs, console, keep=keep, older_than=oldest, delete=delete)
    if database:
        _prune_database(console, keep=keep, older_than=oldest, delete=delete)


def _prune_runs(runs: RunStore, console: Console, *, keep: int, older_than: timedelta, delete: bool) -> None:
    found = fates(runs, keep=keep, older_than=older_than, now=datetime.now(UTC))
    freed = count = 0
    for fate in found:
        if fate.kept:
            console.print(f"stays {fate.name}: {fate.kept}")
            continue
        size = runs.child(fate.name).size_bytes()
        try:
            if delete:
                remove_run(runs, fate.name)
        except AugmentError as error:
            console.print(f"stays {fate.name}: {error}")
            continue
        freed, count = freed + size, count + 1
        console.print(f"{'removed' if delete else 'would go:'} {fate.name}, {megabytes(size)}")
    console.print(f"{count} of {len(found)} runs ({megabytes(freed)}) {_done(delete)}")
    if delete:
        remove_leftovers(runs)
        try:
            renew_index(runs)
        except AugmentError as error:
            console.print(f"no index of runs: {error}")


def _prune_database(console: Console, *, keep: int, older_than: timedelta, delete: bool) -> None:
    from flows.database import forget, old_flow_runs  # Prefect takes seconds to import
    from flows.progress import SERVER_ERRORS
    from flows.server import study_server

    try:
        with study_server():
            runs = old_flow_runs(keep=keep, older_than=older_than, now=datetime.now(UTC))
            if delete:
                forget(runs)
    except SERVER_ERRORS as error:
        reason = message_of(error)
        raise AugmentError(f"Prefect's server went away ({reason}); run augment prune again") from error
    console.print(f"{len(runs)} flow runs in Prefect's database {_done(delete)}")


def _done(delete: bool) -> str:
    return "removed" if delete else "would go; remove them with --delete"


def age(text: str) -> timedelta:
    """Return the duration of a text such as 90d, 12w or 36h.

    Raises:
        UsageError: it is none.
    """
    match = AGE.fullmatch(text.strip())
    try:
        if match is not None:
            return timedelta(hours=float(match[1]) * HOURS[match[2]])
    except OverflowError:
        pass
    raise UsageError(f"--older-than {text!r} is no age; write for example 90d, 12w or 36h")


def megabytes(size: int) -> str:
    """Write a number of bytes in megabytes."""
    return f"{size / 1e6:,.1f} MB"
