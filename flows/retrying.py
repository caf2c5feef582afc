"""Which failures of a stage are worth another attempt: those of input and output, which may pass."""

import errno
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from data.errors import CorruptFileError, UsageError
from flows.store import StoreError

RETRIES = 2
RETRY_SECONDS = (2.0, 8.0)
LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}  # do not pass by themselves


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


def worth_retrying(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001 (Prefect's signature)
    """Tell Prefect whether to run a failed stage again."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and may_pass(error)
