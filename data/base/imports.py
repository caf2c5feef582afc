"""Importing large libraries with less processor time."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imported_for_good() -> Iterator[None]:
    """Import in this block without looking for garbage; what there is at its end is not looked through any more.

    PyTorch and Prefect make a million objects that stay until the process ends. Python's collector went through them
    again and again while they were made: a second of six.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # libraries warn at the exit of what is not cleared away then
        if collecting:
            gc.enable()
