"""`augment report`: the report of a finished run again, from its stored predictions, without training."""

from typing import Annotated

import typer
from rich.markup import escape

from data.base.errors import SourceUnavailableError
from flows.commands.console import output_console
from flows.commands.run import print_report
from flows.study.designs import Designs, study_designs
from flows.study.reporting import report_files, write_reports
from flows.study.run_directory import load_run_config, study_cells
from flows.study.running import summarise_cell
from flows.study.store import store_of


def report(run: Annotated[str, typer.Argument(help="Run whose cells are finished: a directory or a URL.")]) -> None:
    """Compute report.json and report.html again from the stored predictions."""
    console, store = output_console(), store_of(run)
    with store.copied() as directory:
        config = load_run_config(directory)
        designs: Designs | None
        try:
            designs = study_designs(config)
        except SourceUnavailableError as error:
            console.print(f"without pictures of test images: {escape(str(error))}", highlight=False)
            designs = None
        for cell in study_cells(config, directory):
            summarise_cell(cell, config)
        found = write_reports(directory, config, designs=designs)
        store.push(directory, report_files(directory))
    print_report(found, store, console=console)
