"""Runs a Python module as a child process that never outlives its parent: `python -m flows.attached MODULE …`.

The parent holds the other end of this process's standard input and never writes to it. However the parent ends (SIGKILL
and out of memory too), the system closes that end, and reading here meets the end of the stream. No time is polled for,
and no process number is looked up that might belong to somebody else by then.
"""

import gc
import os
import runpy
import signal
import sys
import threading
import time
from importlib import import_module

from data.base.imports import imported_for_good

STDIN = 0
SERVED_BY = "AUGMENT_SERVED_BY"  # environment variable: number of the process of `augment serve`
LOOK_SECONDS = 1.0
SHUTDOWN_SECONDS = 5.0  # to end in order; then at once
COLLECT_SECONDS = 1.0
LARGE = {"prefect": "prefect.server.api.server"}  # what a module imports later


def end_with_parent() -> None:
    """Wait for the parent to end, then end this process.

    The descriptor itself is read: a thread that waits in `sys.stdin` holds a lock that the interpreter needs at its own
    end, so that a module that fails early would end in an abort (SIGABRT) instead of by its own exit code.
    """
    while os.read(STDIN, 4096):
        pass
    end_in_order()


def end_with_serve() -> bool:
    """Let a run that `augment serve` started end when that ends, however that is; return whether this is such a run.

    A run's standard input is not this project's to use, so the number of the parent process is looked at: an orphan
    gets another parent.
    """
    parent = os.getppid()
    if os.environ.get(SERVED_BY) != str(parent):
        return False

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        end_in_order()

    threading.Thread(target=watch, daemon=True, name="end-with-serve").start()
    return True


def end_in_order() -> None:
    """End this process as a service manager would: by a signal to end in order, then at once."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SHUTDOWN_SECONDS)
    os._exit(1)


def collect_apart() -> None:
    """Let a thread of its own look for garbage from now on, as often as Python would but once a second at most.

    A cursor of SQLite that is cleared away waits for the statement that its connection runs. Where an event loop meets
    such garbage, and that statement waits for a lock which a coroutine of this loop holds, all stands still until
    SQLite gives up, in Prefect's server after 60 s. A thread that waits there holds nobody up.
    """
    gc.disable()

    def collect() -> None:
        while True:
            time.sleep(COLLECT_SECONDS)
            due = [place for place, most in enumerate(gc.get_threshold()) if gc.get_count()[place] > most]
            if due:
                gc.collect(max(due))

    threading.Thread(target=collect, daemon=True, name="collect-apart").start()


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True, name="end-with-parent").start()
    del sys.argv[0]
    with imported_for_good():
        import_module(LARGE.get(sys.argv[0], sys.argv[0]))
    collect_apart()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
