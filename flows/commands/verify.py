"""`augment verify`: does a run, or a synthetic data set, still say what it was made from?"""

from typing import Annotated

import typer

from flows.commands.console import output_console
from flows.study.store import store_of
from flows.study.verification import verify as follow


def verify(
    path: Annotated[str, typer.Argument(help="a run or a synthetic data set: a directory or a URL")],
    quiet: Annotated[bool, typer.Option("--quiet", help="print only what does not hold")] = False,
) -> None:
    """Follow the digests from source rows to predictions, a line per link; exit 1 where one does not hold."""
    console = output_console()
    counts = {True: 0, False: 0, None: 0}
    with store_of(path).copied() as directory:
        for link in follow(directory):
            counts[link.holds] += 1
            mark = {True: "✓", False: "✗", None: "-"}[link.holds]
            if not (quiet and link.holds):
                line = f"{mark} {link.name}" + (f": {link.detail}" if link.detail else "")
                console.print(line.replace(str(directory), path), markup=False, highlight=False, soft_wrap=True)
    untold = f", {counts[None]} cannot be told here" if counts[None] else ""
    console.print(f"{counts[True]} links hold, {counts[False]} do not{untold}", highlight=False)
    if counts[False]:
        raise typer.Exit(1)
