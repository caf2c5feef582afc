"""Options that name a file or a folder of this machine."""

from typing import Any

import typer

from data.base.files import given_path


def path_option(text: str) -> Any:
    """Return an option whose `~` is spelled out, as no shell does in `--output=~/out`.

    Args:
        text: what `--help` says of it.
    """
    return typer.Option(parser=given_path, metavar="PATH", help=text)
