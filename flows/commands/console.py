"""The console that commands print to, and who else may not."""

import logging
import os
import sys

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

WIDTH_OF_FILES = 140  # characters, where standard output is no terminal


def output_console() -> Console:
    """Return a console on standard output, as wide as the terminal."""
    closed = sys.stdout is None  # as `>&-` leaves it
    return Console(width=None if not closed and sys.stdout.isatty() else WIDTH_OF_FILES)


def silence_prefect_console() -> None:
    """Keep Prefect's log lines off the console, where the progress display is; they still reach its server.

    Worker processes inherit the environment, and set their logging up from it.
    """
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    for name in (None, *logging.root.manager.loggerDict):
        for handler in logging.getLogger(name).handlers:
            own = (name or "").startswith("prefect") and type(handler) is logging.StreamHandler
            if own or isinstance(handler, PrefectConsoleHandler):
                handler.setLevel(logging.CRITICAL + 1)
