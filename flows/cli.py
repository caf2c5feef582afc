"""The command line: `augment`. Each subcommand is a function of its own module in flows/commands."""

import os
import sys
import threading
import time

import typer
from rich.console import Console
from rich.markup import escape

from data.base.errors import AugmentError
from flows.commands.audit import audit
from flows.commands.compare import compare
from flows.commands.datasets import datasets, inspect
from flows.commands.export import export
from flows.commands.history import history
from flows.commands.report import report
from flows.commands.run import run
from flows.commands.serve import serve
from flows.commands.verify import verify
from flows.progress import SERVER_ERRORS

EXIT_SECONDS = 15.0  # for what is told to Prefect's server last

app = typer.Typer(
    name="augment",
    help="Does GAN augmentation help on my data, by how much, and can I trust the answer?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (run, report, compare, history, export, serve, audit, verify, datasets, inspect):
    app.command()(command)


@app.callback()
def augment() -> None:
    """Does GAN augmentation help on my data, by how much, and can I trust the answer?"""


def main() -> None:
    """Run the command line; a failure meant for people is one line on standard error and an exit code."""
    try:
        app()
    except AugmentError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        if isinstance(error.__cause__, SERVER_ERRORS):
            os._exit(error.exit_code)  # a proper exit would wait minutes for the server that went away
        end_in_time(error.exit_code)
        sys.exit(error.exit_code)
    except SystemExit as end:
        end_in_time(end.code if isinstance(end.code, int) else 0)
        raise


def end_in_time(code: int) -> None:
    """Let this process end within seconds of its last line, even where a library's thread or queue waits for ever."""

    def watch() -> None:
        threading.main_thread().join()  # it counts as ended as soon as the interpreter begins to shut down
        time.sleep(EXIT_SECONDS)
        os._exit(code)

    threading.Thread(target=watch, daemon=True, name="end-in-time").start()


if __name__ == "__main__":
    main()
