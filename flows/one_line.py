"""Errors whose message says all, logged in one line, by Prefect too: a service's log is all that people have."""

import logging

from data.base.errors import AugmentError
from data.base.memory import is_lack_of_memory
from flows.progress import SERVER_ERRORS

EXPECTED = (AugmentError, OSError, *SERVER_ERRORS)  # meant for people, or of a connection that broke


def _is_expected(error: BaseException) -> bool:
    of_websockets = type(error).__module__.startswith("websockets")
    return isinstance(error, EXPECTED) or is_lack_of_memory(error) or of_websockets


class OneLine(logging.Filter):
    """Takes the traceback of an expected error from a record, and leaves the error's message in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and _is_expected(error):
            told, why = record.getMessage(), " ".join(str(error).split())
            record.msg, record.args = told if why in told else f"{told} ({why})", ()
            record.exc_info = record.exc_text = None
        return True


def log_errors_in_one_line() -> None:
    """Let all logs that this process has by now tell of expected errors in one line."""
    for name in ("", *logging.root.manager.loggerDict):
        for handler in logging.getLogger(name).handlers:
            if not any(isinstance(each, OneLine) for each in handler.filters):
                handler.addFilter(OneLine())
