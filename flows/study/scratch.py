"""Folders that a process works in for a while, and that are gone when it is, however it ended.

Beside each folder lies a lock file, which the system frees when the process that holds it ends, even a killed one. So
a folder whose lock is free belongs to nobody, and the next study on the machine removes it.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "augment-scratch-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty folder that is removed after."""
    folder = Path(tempfile.gettempdir()) / f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    lock = FileLock(_lock_file(folder), mode=0o600)
    with lock:
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            _remove(folder)


def sweep_scratch(*, of_this_process: bool = False) -> None:
    """Remove the folders of this user's processes that have ended, and those of this one where it ends at once."""
    for file in Path(tempfile.gettempdir()).glob(f"{PREFIX}*.lock"):
        folder = file.with_suffix("")
        with suppress(OSError):
            if file.stat().st_uid != os.getuid():
                continue
            if of_this_process and file.name.startswith(f"{PREFIX}{os.getpid()}-"):
                _remove(folder)
                continue
            with suppress(Timeout), FileLock(file, timeout=0, mode=0o600):
                _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _lock_file(folder).unlink(missing_ok=True)


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
