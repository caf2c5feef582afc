"""How worker processes start: on Linux forked from a process that has imported everything once, elsewhere afresh.

A process that starts afresh imports PyTorch and Prefect, seven seconds of a core's time. With N workers that was paid N
times over, and their memory held as many copies of it.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.context import BaseContext

WHERE_IMPORTED = ("flows.study.running", "flows.augmentation_study", "distributed")  # in the process that starts them
FIRST = "flows.study.fork_server"
AT_FIRST_USE = "torch._dynamo"  # PyTorch's optimisers import it
LONGEST_FOLDER = 70  # characters: a socket below it has a path of 108 at most


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


def take_environment(environment: Mapping[str, str]) -> None:
    """Give this worker process the environment of the one that it works for."""
    os.environ.clear()
    os.environ.update(environment)
