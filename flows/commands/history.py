"""`augment history`: the runs of a directory as a table, and their index page."""

from typing import Annotated

import pandas as pd
import typer
from rich.console import Console

from data.base.errors import AugmentError
from evaluation.reporting.history import FILES_OF_A_RUN, INDEX_FILE, history_frame, read_history, update_history
from flows.commands.prune import megabytes
from flows.study.run_directory import DEFAULT_RUNS_DIRECTORY
from flows.study.store import store_of


def history(
    runs_directory: Annotated[str, typer.Argument(help="where the runs are: a directory or a URL")] = str(
        DEFAULT_RUNS_DIRECTORY
    ),
) -> None:
    """List all runs with their gains and sizes, broken and unfinished ones too, and renew index.html beside them."""
    console, store = Console(soft_wrap=True, markup=False, highlight=False), store_of(runs_directory)
    note = ""
    with store.copied_runs(*FILES_OF_A_RUN, INDEX_FILE) as directory:
        entries = read_history(directory)
        try:
            if entries or (directory / INDEX_FILE).exists():  # a folder without runs may be of anything
                store.push(directory, [update_history(directory)])
                note = store.child(INDEX_FILE).location
        except AugmentError as error:
            note = f"no index of runs: {error}"
    if entries:
        frame = history_frame(entries)
        frame.insert(2, "size", [megabytes(store.child(entry.name).size_bytes()) for entry in entries])
        with pd.option_context("display.max_colwidth", 60):
            console.print(frame.to_string(index=False))
    else:
        console.print(f"no runs in {runs_directory} yet; start one with `augment run`")
    if note:
        console.print(note)
