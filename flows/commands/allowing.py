"""Which code of the user's own a command may load: what the user typed, wrote in a file, or allows by name."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from data.base.plugins import allow
from evaluation.reporting.run_files import ENVIRONMENT_FILE
from flows.study.config import StudyConfig

AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        help="Code that a run names, and that may be loaded; repeatable.",
        metavar="MODULE:NAME",
    ),
]


def allow_code(references: Sequence[str] | None, *, study: StudyConfig | None = None, file: Path | None = None) -> None:
    """Allow the code to be loaded that the user named.

    Args:
        references: named by --allow.
        study: a configuration that the user gave, as opposed to one that a run holds.
        file: the file that it comes from; one that lies in a run is the run's word, not the user's.

    Raises:
        UsageError: a reference has not the form `package.module:attribute`.
    """
    from_a_run = file is not None and (file.parent / ENVIRONMENT_FILE).exists()
    named = () if study is None or from_a_run else study.named_code
    for reference in (*(references or ()), *named):
        allow(reference)


def resume_command(location: str, study: StudyConfig) -> str:
    """Return the command that continues a run, as a shell takes it."""
    allowed = [word for reference in study.named_code for word in ("--allow", reference)]
    return shlex.join(["augment", "run", "--resume", location, *allowed])
