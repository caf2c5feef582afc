"""`augment history`: the runs of a directory as a table, and their index page."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console

from evaluation.reporting.history import history_frame, read_history, update_history
from flows.study.run_directory import DEFAULT_RUNS_DIRECTORY


def history(
    runs_directory: Annotated[Path, typer.Argument(help="the directory that holds the runs")] = DEFAULT_RUNS_DIRECTORY,
) -> None:
    """List all runs with their gains, broken and unfinished ones too, and renew index.html beside them."""
    console = Console(soft_wrap=True, markup=False, highlight=False)
    entries = read_history(runs_directory)
    page = update_history(runs_directory)
    if entries:
        with pd.option_context("display.max_colwidth", 60):
            console.print(history_frame(entries).to_string(index=False))
    else:
        console.print(f"no runs in {runs_directory} yet; start one with `augment run`")
    console.print(f"{page}")
