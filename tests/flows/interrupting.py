"""Processes that are killed or stand still at a chosen moment, so that no test has to be quick enough to catch it.

Every file of a run is renamed to its name when it is complete. A process whose environment has an `Interruption` looks
at what it is about to rename (an audit hook that Python's start-up installs), and before the first file of a chosen
name it kills itself or stands still. Of several processes only one does, and only once for each name.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import PATIENCE_SECONDS, POLL_SECONDS

FIRST_GRID = "generator/epochs/*.png"  # is written in the middle of a training, after its first checkpoint

HOOK = f"""
import os, pathlib, signal, sys, time

FOLDER = pathlib.Path(os.environ["INTERRUPT_FOLDER"])

def look(event, arguments):
    if event != "os.rename":
        return
    target = pathlib.PurePath(os.fsdecode(arguments[1]))
    for number, name in enumerate(os.environ["INTERRUPT_BEFORE"].split(os.pathsep)):
        if target.match(name):
            try:
                (FOLDER / f"reached-{{number}}").mkdir()
            except FileExistsError:
                continue
            if os.environ["INTERRUPT_BY"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            give_up = time.monotonic() + {PATIENCE_SECONDS}
            while not (FOLDER / "released").exists() and time.monotonic() < give_up:
                time.sleep({POLL_SECONDS})

sys.addaudithook(look)
"""


@dataclass(frozen=True, kw_only=True)
class Interruption:
    """What happens to the first process that is about to complete a file.

    Attributes:
        folder: one of its own, which need not exist.
        before: the ends of files' paths, with wildcards.
        kill: whether the process kills itself (SIGKILL); it stands still until `release` otherwise.
    """

    folder: Path
    before: tuple[str, ...]
    kill: bool

    def environment(self) -> Mapping[str, str]:
        """Return the environment variables that bring it about in a process and all that it starts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "sitecustomize.py").write_text(HOOK)
        return {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self.folder), os.environ.get("PYTHONPATH", "")))),
            "INTERRUPT_BEFORE": os.pathsep.join(self.before),
            "INTERRUPT_BY": "kill" if self.kill else "pause",
            "INTERRUPT_FOLDER": str(self.folder),
        }

    def reached(self) -> bool:
        """Tell whether a process came to each of the files."""
        return self.not_reached() == ()

    def not_reached(self) -> tuple[str, ...]:
        """Return the files that no process came to."""
        return tuple(
            name for number, name in enumerate(self.before) if not (self.folder / f"reached-{number}").exists()
        )

    def release(self) -> None:
        """Let the process that stands still go on."""
        (self.folder / "released").touch()
