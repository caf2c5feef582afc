"""`augment verify`: does a run, or a synthetic data set, still say what it was made from?"""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.console import output_console
from flows.study.verification import verify as follow


def verify(
    path: Annotated[Path, typer.Argument(help="a run directory, or a synthetic data set")],
    quiet: Annotated[bool, typer.Option("--quiet", help="print only what does not hold")] = False,
) -> None:
    """Follow the digests from source rows to predictions, a line per link; exit 1 where one does not hold."""
    console = output_console()
    counts = {True: 0, False: 0, None: 0}
    for link in follow(path):
        counts[link.holds] += 1
        mark = {True: "✓", False: "✗", None: "-"}[link.holds]
        if not (quiet and link.holds):
            line = f"{mark} {link.name}" + (f": {link.detail}" if link.detail else "")
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    untold = f", {counts[None]} cannot be told here" if counts[None] else ""
    console.print(f"{counts[True]} links hold, {counts[False]} do not{untold}", highlight=False)
    if counts[False]:
        raise typer.Exit(1)
