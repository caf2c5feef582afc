"""Classes from labels: which there are, in which order, and by which names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.base.errors import AugmentError
from data.base.limits import MAX_CLASSES, check_limit
from data.base.names import check_class_name, natural_key, unified_name

Label = int | str
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The classes of a data set.

    Attributes:
        names: one for each class.
        facts: what the reader of a report must know about how they were found.
    """

    names: tuple[str, ...]
    facts: tuple[str, ...]
    _numbers: Mapping[Label, int]
    _given: tuple[str, ...]

    @classmethod
    def of(cls, labels: Sequence[Label], names: tuple[str, ...] | None, *, where: str) -> "Classes":
        """Find the classes of the train split's labels.

        Without `names`, whole numbers become classes in their order and texts in natural order (`2` before `10`).
        Names that differ in spaces or Unicode composition only are one class; names without an image are dropped.

        Args:
            names: in order; whole-numbered labels count them, texts are among them.

        Raises:
            AugmentError: two classes have the same name, or a name that tables cannot show.
            LimitError: too many classes.
        """
        used = set(labels)
        check_limit(len(used), MAX_CLASSES, what=f"{where}: number of distinct labels", advice="are these the labels?")
        if names is None:
            ordered = sorted(used, key=lambda label: (isinstance(label, str), natural_key(str(label))))
            titles = [str(label) for label in ordered]
            keys: list[tuple[Label, ...]] = [(label,) for label in ordered]
            dropped: list[str] = []
        else:
            if len(set(names)) != len(names):
                raise AugmentError(f"{where}: two classes have the same name; rename one")
            titles = [name for number, name in enumerate(names) if number in used or name in used]
            keys = [(number, name) for number, name in enumerate(names) if number in used or name in used]
            dropped = [name for number, name in enumerate(names) if number not in used and name not in used]
        numbers: dict[Label, int] = {}
        spellings: dict[str, list[str]] = {}
        for title, of_title in zip(titles, keys, strict=True):
            unified = unified_name(check_class_name(title, where=where))
            spellings.setdefault(unified, []).append(title)
            numbers |= dict.fromkeys((*of_title, unified), list(spellings).index(unified))
        facts = [
            f"{' and '.join(repr(one) for one in several)} are one class, {unified!r}: the names look alike"
            for unified, several in spellings.items()
            if len(set(several)) > 1
        ]
        if dropped:
            more = f" and {len(dropped) - _SHOWN:,} more" if len(dropped) > _SHOWN else ""
            shown = ", ".join(repr(name) for name in dropped[:_SHOWN])
            facts.append(f"class names without a training image were dropped: {shown}{more}")
        return cls(names=tuple(spellings), facts=tuple(facts), _numbers=numbers, _given=names or ())

    def numbers(self, labels: Sequence[Label], *, where: str) -> npt.NDArray[np.int64]:
        """Return the class of each label, (N,) int64.

        Raises:
            AugmentError: a label that the train split does not have.
        """
        known = dict(self._numbers)
        for label in set(labels) - known.keys():  # a spelling that the train split does not have
            if isinstance(label, str) and unified_name(label) in known:
                known[label] = known[unified_name(label)]
        unknown = sorted(
            (self._given[label] if isinstance(label, int) and self._given else str(label))
            for label in set(labels) - known.keys()
        )
        if unknown and len(unknown) == len(set(labels)):
            raise AugmentError(
                f"{where}: no class of the test split ({', '.join(map(repr, unknown[:_SHOWN]))}) occurs in the train "
                "split; lay both out alike, or leave the test split out (--set data.test_split=ignore, or of a "
                "validation split data.validation=ignore)"
            )
        if unknown:
            raise AugmentError(
                f"{where}: class {unknown[0]!r} of the test split does not occur in the train split; add images of it "
                "there, or take it out of the test split"
            )
        return np.array([known[label] for label in labels], np.int64)


def group_label(value: object) -> Label | None:
    """Return what a table says of an image's group as a text, None where it says nothing."""
    if value is None or value != value or value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # numbers become floats where one is missing in their file
    return str(value)  # another file may hold the same ones as texts
