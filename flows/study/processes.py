"""How worker processes start: on Linux forked from a process that has imported everything once, elsewhere afresh.

A process that starts afresh imports PyTorch and Prefect, seven seconds of a core's time. With N workers that was paid N
times over, and their memory held as many copies of it.
"""

import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.context import BaseContext

from flows.study.scratch import sweep_scratch

WHERE_IMPORTED = ("flows.study.running", "flows.augmentation_study", "distributed")  # in the process that starts them
FIRST = "flows.study.fork_server"
AT_FIRST_USE = "torch._dynamo"  # PyTorch's optimisers import it
LONGEST_FOLDER = 70  # characters: a socket below it has a path of 108 at most
KILL_SECONDS = 5.0


def worker_context() -> BaseContext:
    """Return the context of multiprocessing in which worker processes start.

    The fork server is a process of its own that imports modules and does nothing else, so that no thread, lock or GPU
    context is there to be copied. It starts with the first worker and ends with this process. Its environment is that
    of its start, so that workers must be told today's (`take_environment`). Libraries of macOS do not survive a fork.
    """
    if sys.platform != "linux" or len(tempfile.gettempdir()) > LONGEST_FOLDER:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([FIRST, *(name for name in WHERE_IMPORTED if name in sys.modules), AT_FIRST_USE])
    return context


@contextmanager
def workers_ended_on_failure() -> Iterator[None]:
    """Kill the worker processes that start within if anything fails: leaving their pool would wait for their cells."""
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()
            child.join(KILL_SECONDS)
        sweep_scratch()
        raise


def prepare_worker(environment: Mapping[str, str]) -> None:
    """Let this worker process end when the one that it works for does, and give it its environment."""
    end_with_parent()
    take_environment(environment)


def end_with_parent() -> None:
    """Let this worker process end as soon as the study's process does, so that a killed study leaves no writer."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait_for_any([parent.sentinel])
        sweep_scratch(of_this_process=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def take_environment(environment: Mapping[str, str]) -> None:
    """Give this worker process the environment of the one that it works for."""
    os.environ.clear()
    os.environ.update(environment)
