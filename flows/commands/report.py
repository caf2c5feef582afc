"""`augment report`: the report of a finished run again, from its stored predictions, without training."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from data.base.errors import SourceUnavailableError
from flows.commands.console import output_console
from flows.commands.run import print_report
from flows.study.designs import Designs, study_designs
from flows.study.reporting import write_reports
from flows.study.run_directory import load_run_config, study_cells
from flows.study.running import summarise_cell
from flows.study.store import store_of


def report(run: Annotated[Path, typer.Argument(help="Run directory whose cells are finished.")]) -> None:
    """Compute report.json and report.html again from the stored predictions."""
    console = output_console()
    config = load_run_config(run)
    designs: Designs | None
    try:
        designs = study_designs(config)
    except SourceUnavailableError as error:
        console.print(f"without pictures of test images: {escape(str(error))}", highlight=False)
        designs = None
    for cell in study_cells(config, run):
        summarise_cell(cell, config)
    print_report(write_reports(run, config, designs=designs), store_of(run), console=console)
