"""Running a user's program: no shell, a log, a time limit, and never longer than whoever waits for it."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from data.base.errors import AugmentError, UsageError
from flows.study.generators import supervisor

POLL_SECONDS = 0.5
END_SECONDS = 60.0  # for the supervisor, which takes a few: ended before, it would leave the group running
LONGEST_LINE = 200  # characters of a log that a message quotes
_TAIL_BYTES = 4096


def run_program(
    words: Sequence[str], *, log: Path, limit_seconds: float, on_wait: Callable[[float, str], None]
) -> None:
    """Run a program to its end; its whole process group ends with it, with this process, and at the time limit.

    Args:
        log: file that gets all its output, anew.
        on_wait: told the elapsed seconds and the last line of the log, twice a second.

    Raises:
        UsageError: there is no such program.
        AugmentError: it fails, or is not done in time; the message quotes the last line of its log.
    """
    if shutil.which(words[0]) is None:
        raise UsageError(f"the generator's command cannot run: there is no program {words[0]!r} on this machine")
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-I", supervisor.__file__, *words],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt from the keyboard reaches this process alone, which ends the group
        )
        try:
            while process.poll() is None and (elapsed := time.monotonic() - started) < limit_seconds:
                on_wait(elapsed, last_line(log))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(min(POLL_SECONDS, max(limit_seconds - elapsed, 0.01)))
            code = process.poll()
        finally:
            _let_go(process)
    if code is None:
        raise AugmentError(
            f"the generator's command was ended after {limit_seconds:g} s, the time limit; {_said(log)}; go on with "
            "--resume and a longer --generator-time-limit"
        )
    if code:
        raise AugmentError(f"the generator's command {_ended(code)}; {_said(log)}; mend it and go on with --resume")


def _let_go(process: "subprocess.Popen[bytes]") -> None:
    """Let the supervisor end the group, and wait until it has."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ended(code: int) -> str:
    number = code - 128 if code > 128 else -code
    if number in set(signal.Signals):
        also = " (out of memory?)" if number == signal.SIGKILL else ""
        return f"was ended by {signal.Signals(number).name}{also}"
    return f"failed with exit code {code}"


def _said(log: Path) -> str:
    line = last_line(log)
    return f"its last line: {line!r}, all of it in {log}" if line else f"it wrote nothing to {log}"


def last_line(log: Path) -> str:
    """Return the last line of a log that holds something, shortened; "" where there is none."""
    with open(log, "rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - _TAIL_BYTES))
        lines = stream.read().decode("utf-8", "replace").replace("\r", "\n").split("\n")
    said = [text for line in lines if (text := "".join(filter(str.isprintable, line)).strip())]
    return said[-1][:LONGEST_LINE] if said else ""
