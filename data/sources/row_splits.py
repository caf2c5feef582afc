"""Which rows of a table are for training and which for testing, where a column says so (`data.split_column`)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from data.base.errors import UsageError
from data.config import DataConfig
from data.sources.reading import Record
from data.sources.splits import Split, assign_roles, split_named, words_of

TRUTH = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False, "1.0": True, "0.0": False}
"""How tables write whether something is so, in small letters."""
_SHOWN = 5

Role = Literal["train", "test"]


@dataclass(frozen=True, kw_only=True)
class RowSplits:
    """What each row is for.

    Attributes:
        roles: one for each row; None where it is left out.
        layout, facts: as `Roles` has them.
    """

    roles: tuple[Role | None, ...]
    layout: tuple[str, ...]
    facts: tuple[str, ...]

    def records(self, records: Iterable[Record], role: Role) -> Iterator[Record]:
        """Yield the records of all rows that have the role."""
        return (record for record, of_row in zip(records, self.roles, strict=True) if of_row == role)

    @property
    def has_test(self) -> bool:
        return "test" in self.roles


def split_rows(values: Sequence[object], config: DataConfig, *, where: str) -> RowSplits:
    """Give each row its role by the words in its value, such as train, Validation or PublicTest.

    A column such as `is_valid` holds truth values: what is not of its split is for training.

    Raises:
        UsageError: no value names a split, or there is nothing to train on.
    """
    column = config.split_column
    texts = [None if value is None or value != value else str(value) for value in values]
    split_of = {text: _split_said(text, column) for text in set(texts) if text is not None}
    if not any(split_of.values()):
        shown = ", ".join(repr(text[:30]) for text in sorted(split_of)[:_SHOWN]) or "nothing"
        raise UsageError(
            f"{where}: column {column!r} names no split, it has {shown}; words such as train, validation and test are "
            "understood"
        )
    parts: dict[Split, list[int]] = {}
    unnamed: set[str] = set()
    num_unnamed = 0
    for row, text in enumerate(texts):
        split = None if text is None else split_of[text]
        if split is not None:
            parts.setdefault(split, []).append(row)
        else:
            num_unnamed += 1
            unnamed.add("nothing" if text is None else repr(text[:30]))
    found = assign_roles(parts, config, where=where, describe=lambda rows: f"{len(rows):,} rows by column {column!r}")
    roles: list[Role | None] = [None] * len(texts)
    for row in found.train:
        roles[row] = "train"
    for row in found.test or ():
        roles[row] = "test"
    left_out = [f"{num_unnamed:,} rows were left out: column {column!r} says {', '.join(sorted(unnamed)[:_SHOWN])}"]
    return RowSplits(roles=tuple(roles), layout=found.layout, facts=(*found.facts, *(left_out if unnamed else [])))


def _split_said(text: str, column: str) -> Split | None:
    of_truth = split_of_truth(column)
    is_so = TRUTH.get(text.strip().lower())
    if of_truth is None or is_so is None:
        return split_named(text)
    return of_truth if is_so else "test" if of_truth == "train" else "train"


def split_of_truth(column: str) -> Split | None:
    """Return the split that a column of truth values tells of, such as `is_valid`, or None."""
    return split_named(column) if words_of(column)[:1] == ["is"] else None
