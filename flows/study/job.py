"""What the engine hands to a stage's function beside the inputs that it declares."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from data.base.device import Compute

Settings = TypeVar("Settings")
OPERATIONS_FILE = "operations.json"  # how many operations a training took
LABELLED_IMAGES_FILE = "images.parquet"  # what the stage `labelling` made
OnUpdate = Callable[[float, str], None]  # finished share in [0, 1], a line of detail


def unheard(share: float, detail: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Job(Generic[Settings]):
    """One stage of one cell, to be done.

    Attributes:
        cell: the cell's name, REGIME/REPLICATE.
        settings: what the configuration says about this stage, with "auto" decided.
        seed: of everything random in it.
        code: digest of the code that does it, for what the stage itself resumes from.
        output: the file or the directory to make.
        on_update: tells how far it is.
    """

    cell: str
    settings: Settings
    seed: int
    compute: Compute
    code: str
    output: Path
    on_update: OnUpdate
