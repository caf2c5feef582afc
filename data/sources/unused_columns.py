"""Columns of a table that seem to say what no key of the configuration uses: splits, and what images belong to."""

import re
from collections.abc import Callable, Sequence

from data.config import DataConfig
from data.sources.row_splits import TRUTH, split_of_truth
from data.sources.splits import split_named

_SPLIT_COLUMNS = frozenset({"split", "splits", "usage", "subset", "partition", "fold", "set", "phase"})
_GROUPED_BY = frozenset({
    "patient", "subject", "participant", "person", "individual", "donor", "animal", "lesion", "specimen", "slide",
    "case", "study", "writer", "author", "speaker", "video", "scene", "group", "groups",
})  # fmt: skip


def unused_columns(
    names: Sequence[str], config: DataConfig, *, first_values: Callable[[str], Sequence[object]]
) -> tuple[str, ...]:
    """Return a note on a column that seems to say which split a row belongs to, and on one of groups.

    Args:
        first_values: returns values of a column, as many as are quickly read.
    """
    of_splits = [] if config.split_column else [_of_splits(name, first_values) for name in _others(names, config)]
    return (*[note for note in of_splits if note][:1], *unused_groups(names, config, first_values=first_values))


def unused_groups(
    names: Sequence[str], config: DataConfig, *, first_values: Callable[[str], Sequence[object]]
) -> tuple[str, ...]:
    """Return a note on a column that seems to say which images belong together; the arguments are as above."""
    of_groups = [] if config.group_column else [_of_groups(name, first_values) for name in _others(names, config)]
    return tuple([note for note in of_groups if note][:1])


def _others(names: Sequence[str], config: DataConfig) -> list[str]:
    return [name for name in names if name not in (config.label_column, config.image_column)]


def _of_splits(name: str, first_values: Callable[[str], Sequence[object]]) -> str:
    is_truth = split_of_truth(name) is not None
    if name.strip().lower() not in _SPLIT_COLUMNS and not is_truth:
        return ""
    values = {str(value).strip() for value in first_values(name) if value is not None}
    named = sorted(value for value in values if split_named(value) is not None)
    if is_truth and values and {value.lower() for value in values} <= TRUTH.keys():
        named = sorted(values)
    if not named:
        return ""
    return (
        f"COLUMN {name!r} SEEMS TO NAME SPLITS (such as {named[0][:30]!r}) AND IS NOT USED: "
        f"--set data.split_column={name} divides by it"
    )


def _of_groups(name: str, first_values: Callable[[str], Sequence[object]]) -> str:
    if re.sub(r"[^a-z]|(ids?|no|nr|number)$", "", re.sub(r"[\s_-]", "", name.lower())) not in _GROUPED_BY:
        return ""
    values = [str(value) for value in first_values(name) if value is not None]
    if not 1 < len(set(values)) < len(values):
        return ""
    return (
        f"COLUMN {name!r} SEEMS TO SAY WHICH IMAGES BELONG TOGETHER AND IS NOT USED, so that they may stand on both "
        f"sides of a split: --set data.group_column={name} keeps them together"
    )
