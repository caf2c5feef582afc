"""The command line: `augment`. Each subcommand is a function in a module of flows/commands, imported when used.

`COMMANDS` is the table of them, with the line that `augment --help` shows: reading it imports no torch and no Prefect.
"""

import atexit
import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from data.base.errors import AugmentError, UsageError, message_of
from data.base.imports import imported_for_good
from data.base.memory import is_lack_of_memory

EXIT_SECONDS = 15.0  # for what is told to Prefect's server last
QUESTION = "Does GAN augmentation help on my data, by how much, and can I trust the answer?"


@dataclass(frozen=True, kw_only=True)
class Subcommand:
    """A function `name` of the module flows.commands.`module`, and its line in the list of commands."""

    name: str
    module: str
    line: str

    def load(self) -> Any:
        """Import the function and make the command of it."""
        app = typer.Typer(pretty_exceptions_enable=False)
        with imported_for_good(), prefect_settings_in_one_line():
            module = import_module(f"flows.commands.{self.module}")
        app.command(name=self.name)(getattr(module, self.name))
        return typer.main.get_command(app)


@contextmanager
def prefect_settings_in_one_line() -> Iterator[None]:
    """Import Prefect while the block runs, which reads its settings and may find one that it cannot use.

    Raises:
        UsageError: it did.
    """
    try:
        yield
    except ValueError as error:  # pydantic's, which a list of commands need not import
        title, errors = getattr(error, "title", ""), getattr(error, "errors", None)
        if not title.endswith("Settings") or errors is None:
            raise
        first = errors()[0]
        named = [name for name, value in os.environ.items() if name.startswith("PREFECT_") and value == first["input"]]
        where = named[0] if named else f"Prefect's setting {'.'.join(map(str, first['loc']))}"
        raise UsageError(
            f"{where} = {first['input']!r} cannot be used: {first['msg']}; mend it in the environment, or in the "
            "profile that `prefect config view` shows"
        ) from error


COMMANDS = {
    command.name: command
    for command in (
        Subcommand(name="run", module="run", line="Measure how much GAN augmentation helps: train, sample, compare."),
        Subcommand(name="plan", module="plan", line="Say how many replicates and hours a wished gain needs."),
        Subcommand(name="report", module="report", line="Compute a run's report again from the stored predictions."),
        Subcommand(name="compare", module="compare", line="Compare runs: differences with intervals, best run, trend."),
        Subcommand(name="history", module="history", line="List all runs with their gains, and renew index.html."),
        Subcommand(name="prune", module="prune", line="Say which old runs would go, or remove them."),
        Subcommand(name="export", module="export", line="Write a labelled synthetic data set that loads anywhere."),
        Subcommand(name="judge", module="judge", line="Judge a ready-made synthetic set: is it real, right, worth it?"),
        Subcommand(name="serve", module="serve", line="Run studies on a schedule, with Prefect's user interface."),
        Subcommand(name="audit", module="audit", line="Plant generators that cheat; every one must be caught."),
        Subcommand(name="verify", module="verify", line="Follow the digests from source rows to predictions."),
        Subcommand(name="datasets", module="datasets", line="List the data sets that have names, and your own kinds."),
        Subcommand(name="inspect", module="datasets", line="Show what a data set holds, and what it supports."),
    )
}


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called, not when they are listed.

    Typer brings its own copy of click and keeps its types to itself, hence `Any`.
    """

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = COMMANDS.get(cmd_name)
        if command is None:
            return None
        if ctx.meta.get("listing"):
            return TyperCommand(cmd_name, help=command.line)
        return command.load()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        ctx.meta["listing"] = True
        super().format_help(ctx, formatter)


app = typer.Typer(name="augment", help=QUESTION, cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def augment() -> None:
    """Does GAN augmentation help on my data, by how much, and can I trust the answer?"""


def main() -> None:
    """Run the command line; a failure meant for people is one line on standard error and an exit code."""
    try:
        app()
    except (AugmentError, OSError, MemoryError, RuntimeError) as failure:
        error = failure if isinstance(failure, AugmentError) else _of_the_system(failure)
        if error is None:
            raise
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        exit_at_once_without_server(error)
        end_in_time(error.exit_code)
        sys.exit(error.exit_code)
    except SystemExit as end:
        end_in_time(end.code if isinstance(end.code, int) else 0)
        raise


class Ending:
    """How this process ends: without the second that Python takes to clear away PyTorch's and Prefect's modules."""

    def __init__(self) -> None:
        self.code: int | None = None
        atexit.register(self._end)  # what is registered first is called last

    def _end(self) -> None:
        if self.code is not None:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError, AttributeError):  # closed before, or by who read from it
                    stream.flush()
            os._exit(self.code)


def _of_the_system(error: OSError | MemoryError | RuntimeError) -> AugmentError | None:
    """Say what the system refused where no command expected it, such as a folder that was closed meanwhile."""
    if is_lack_of_memory(error):
        return AugmentError(f"there is not enough memory ({message_of(error)}); ask for less, or free some")
    if not isinstance(error, OSError):
        return None
    where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return AugmentError(f"{where}{error.strerror or message_of(error)}")


def program() -> None:
    """Run the command line in a process of its own: what `augment` starts."""
    ending = Ending()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no ✓ shows a question mark
            stream.reconfigure(errors="replace")
    try:
        main()
    except SystemExit as end:
        ending.code = end.code if isinstance(end.code, int) else None
        raise


def end_in_time(code: int) -> None:
    """Let this process end within seconds of its last line, even where a library's thread or queue waits for ever."""

    def watch() -> None:
        threading.main_thread().join()  # it counts as ended as soon as the interpreter begins to shut down
        time.sleep(EXIT_SECONDS)
        os._exit(code)

    threading.Thread(target=watch, daemon=True, name="end-in-time").start()


def exit_at_once_without_server(error: AugmentError) -> None:
    """End the process where Prefect's server went away: a proper exit would wait minutes for it."""
    if "flows.server" in sys.modules:
        from flows.server import end_without_server

        end_without_server(error)


if __name__ == "__main__":
    program()
