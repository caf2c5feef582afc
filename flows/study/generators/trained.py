"""The generators that the cells of a run have left."""

from collections.abc import Mapping
from pathlib import Path

from data.parquet import num_rows
from flows.study.run_directory import SUBSET_FILE


def generators_of(run: Path, *files: str) -> dict[str, Path]:
    """Return the folders of a run's generators that hold one of `files`, by the name of their cell."""
    return {
        file.parent.parent.relative_to(run / "cells").as_posix(): file.parent
        for name in files
        for file in sorted((run / "cells").glob(f"*/*/generator/{name}"))
    }


def of_most_data(found: Mapping[str, Path]) -> str:
    """Return the cell whose generator is taken where none is named: replicate 0 of the regime with most data.

    Args:
        found: one or more, as `generators_of` returns them.
    """
    return max(found, key=lambda cell: (num_rows(found[cell].parent / SUBSET_FILE), -int(found[cell].parent.name)))
