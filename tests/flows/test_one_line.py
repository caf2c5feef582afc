"""What a service logs of errors: one line where the message says all, everything where it does not."""

import logging
from collections.abc import Iterator

import httpx
import pytest

from data.base.errors import AugmentError
from flows.one_line import OneLine, log_errors_in_one_line


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log of a process that logs as a service does; asked twice, as where a run calls another."""
    before = {handler: list(handler.filters) for handler in every_handler()}
    log_errors_in_one_line()
    log_errors_in_one_line()
    assert all(sum(isinstance(each, OneLine) for each in handler.filters) == 1 for handler in every_handler())
    yield caplog
    for handler, filters in before.items():
        handler.filters[:] = filters


def every_handler() -> set[logging.Handler]:
    names = ("", *logging.root.manager.loggerDict)
    return {handler for name in names for handler in logging.getLogger(name).handlers}


def log(message: str, error: Exception) -> None:
    try:
        raise error
    except Exception:
        logging.getLogger("a.service").exception(message)


@pytest.mark.parametrize(
    "error",
    [
        AugmentError("the disk\nis full"),
        httpx.ConnectError("refused"),
        ConnectionRefusedError(111, "refused"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_expected_errors_are_told_without_their_traceback(error: Exception, logged: pytest.LogCaptureFixture) -> None:
    log("it ended", error)
    assert logged.text.rstrip().endswith(f"it ended ({' '.join(str(error).split())})")
    assert "Traceback" not in logged.text


def test_message_that_holds_the_error_is_left_as_it_is(logged: pytest.LogCaptureFixture) -> None:
    log("it ended: AugmentError('out of memory')", AugmentError("out of memory"))
    assert logged.text.count("out of memory") == 1


def test_bugs_keep_their_traceback(logged: pytest.LogCaptureFixture) -> None:
    log("it ended", ZeroDivisionError("a bug"))
    assert "Traceback" in logged.text


def test_what_is_no_error_is_left_as_it_is(logged: pytest.LogCaptureFixture) -> None:
    logging.getLogger("a.service").warning("%d runs", 2)
    assert "2 runs" in logged.text
