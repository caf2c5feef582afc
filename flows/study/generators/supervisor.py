"""Run a command in a process group of its own, and end the whole group with whoever started this.

`python supervisor.py COMMAND…`: standard input is a pipe that the caller keeps open. It closes where the caller lets
the command go, and where the caller is killed. It imports nothing of this project, so that it starts at once.
"""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

GRACE_SECONDS = 3.0
POLL_SECONDS = 0.05
CANNOT_START = 126


def main(command: list[str]) -> int:
    """Return the command's exit code, as shells do: 128 + the signal that ended it."""
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror or error}", file=sys.stderr)
        return CANNOT_START
    try:
        while child.poll() is None:
            if select.select([0], [], [], POLL_SECONDS)[0] and not os.read(0, 1):
                break
    finally:
        _end(child)
    code = child.returncode
    return code if code >= 0 else 128 - code


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End what is left of the group: asked first, killed after."""
    if child.poll() is None:
        _signal(child.pid, signal.SIGTERM)
        until = time.monotonic() + GRACE_SECONDS
        while child.poll() is None and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
    _signal(child.pid, signal.SIGKILL)
    child.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
