"""Which failures are worth another attempt: those of input and output, which may pass."""

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from data.base.errors import AugmentError, CorruptFileError, UsageError

Result = TypeVar("Result")

RETRIES = 2
RETRY_SECONDS = (2.0, 8.0)
LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}  # do not pass by themselves


class StoreError(AugmentError):
    """The store of a run cannot be read or written; trying again may help."""


def may_pass(error: BaseException | None) -> bool:
    """Tell whether `error`, or what caused it, is one of input and output that may be gone a moment later."""
    while error is not None:
        if isinstance(error, UsageError):
            return False
        if isinstance(error, OSError):
            return error.errno not in LASTING
        if isinstance(error, (CorruptFileError, StoreError)):
            return True
        error = error.__cause__
    return False


def patiently(work: Callable[[], Result]) -> Result:
    """Do `work`, and again after failures that may pass, as Prefect does for tasks: for work that is not a task."""
    for seconds in RETRY_SECONDS:
        try:
            return work()
        except Exception as error:
            if not may_pass(error):
                raise
            logging.getLogger(__name__).warning("%s; trying again in %.0f s", error, seconds)
        time.sleep(seconds)
    return work()
