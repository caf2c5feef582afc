"""From what a kind of data set found to a `Source`: one place for labels, bad images, classes and groups."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data.base.errors import AugmentError, CorruptFileError, UsageError, one_line
from data.base.files import given_path
from data.base.limits import MAX_ENCODED_BYTES, check_limit
from data.base.names import check_class_name, public_dataset_name
from data.config import UNSPLIT, DataConfig
from data.decoding import Picture, decode_image
from data.images import LabelledImages
from data.sources.classes import Classes, Label
from data.sources.collecting import ImageCollector
from data.sources.source import Source, UserImages, split_source, unsplit_source
from data.unlabelled import UnlabelledSource, from_elsewhere

Read = Callable[[], Picture]
SHOWN = 5  # bad images that a message names
_LEAVE_OUT = "--set data.bad_images=leave-out"


class Record(NamedTuple):
    """An image with its label, as a file or table holds it.

    Attributes:
        where: file and row, for messages.
        read: decodes the image; an `AugmentError` of it makes the image a bad one.
        label: None where it is missing.
        group: what the image belongs to, such as a patient, or None.
    """

    where: str
    read: Read
    label: Label | None
    group: Label | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """A data set as its kind found it.

    Attributes:
        where: as it was given, `kind:path`.
        base: the folder that paths are cut off at in what may be published.
        train: its images, read one after the other.
        test: those of its test split; None: a share is to be held out.
        class_names: in order, where the data set says them: whole-numbered labels count them, others are among them.
        layout, facts: see `UserImages`.
    """

    where: str
    base: Path
    train: Iterable[Record]
    test: Iterable[Record] | None
    class_names: tuple[str, ...] | None = None
    layout: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


def read_found(found: Found, config: DataConfig) -> Source:
    """Read, check and split a data set.

    Raises:
        AugmentError: a bad image or label (unless they are left out), an unlabelled test split, mixed sizes, too much,
            classes that no study can be made of, or a test class without training images.
    """
    reader = _Reader(found, config)
    train = reader.read(found.train)
    test = None if found.test is None else reader.read_test(found.test)
    reader.refuse_bad()
    if not train.labels:
        raise AugmentError(f"{found.where} holds no training images")
    classes = Classes.of(train.labels, found.class_names, where=found.where)
    pixels = reader.collector.finish()
    if (config.group_column or config.group_level) and reader.group_ids(train) is None:
        by = ("group_column", config.group_column) if config.group_column else ("group_level", config.group_level)
        raise UsageError(
            f"{found.where}: no image has a group by data.{by[0]}={by[1]}; choose another, or leave it out"
        )

    def labelled(split: _Rows, images: npt.NDArray[np.uint8]) -> LabelledImages:
        return LabelledImages(
            images=images,
            labels=classes.numbers(split.labels, where=found.where),
            rows=np.arange(len(split.labels), dtype=np.int64),
            class_names=classes.names,
            groups=reader.group_ids(split),
        )

    def published(lines: Iterable[str]) -> tuple[str, ...]:
        test = given_path(config.test)
        bases = (found.base, test, test.parent) if config.test else (found.base,)
        return tuple(one_line(reduce(_below, bases, line)) for line in lines)

    count = len(train.labels)
    user = UserImages(
        name=public_dataset_name(found.where),
        where=found.where,
        train=labelled(train, pixels[:count]),
        test=None if test is None else labelled(test, pixels[count:]),
        facts=published((*found.facts, *classes.facts, *reader.facts(), *reader.collector.facts())),
        resized_from=reader.collector.resized_from,
        layout=published((*found.layout, *reader.collector.layout(), *reader.layout())),
        left_out=tuple(bad.message for bad in reader.bad),
    )
    if config.test_share == UNSPLIT:
        return unsplit_source(user)
    return split_source(user, share=config.test_share, seed=config.test_seed)


def read_unlabelled(found: Found, config: DataConfig) -> UnlabelledSource:
    """Read all images of a data set and none of its labels.

    Raises:
        AugmentError: a bad image (unless they are left out), mixed sizes, too much, or no images.
    """
    reader = _Reader(found, config)
    for records in (found.train, found.test or ()):
        reader.read(records, labelled=False)
    reader.refuse_bad()
    pixels = reader.collector.finish()
    return UnlabelledSource(
        name=public_dataset_name(found.where),
        images=from_elsewhere(pixels),
        notes=tuple(_below(fact, found.base) for fact in (*found.facts, *reader.facts(), *reader.collector.facts())),
    )


def read_image_file(file: Path, *, ground: int) -> Picture:
    """Read and decode an image file.

    Raises:
        LimitError: too large; it was not read.
        CorruptFileError: unreadable or damaged.
    """
    try:
        size = file.stat().st_size
        check_limit(size, MAX_ENCODED_BYTES, what=f"{file}: size in bytes", advice="shrink the image")
        content = file.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"cannot read {file}: {error.strerror or error}") from error
    return decode_image(content, where=str(file), ground=ground)


def _below(text: str, base: Path) -> str:
    """Return a text whose paths begin below `base`."""
    return re.sub(rf"(?<![^\s'\"(]){re.escape(str(base))}/", "", text)


class _Bad(NamedTuple):
    """Why an image is bad. Not the error itself: its traceback would keep all that was read in memory."""

    kind: type[AugmentError]
    message: str


@dataclass
class _Rows:
    """Labels and groups of the images of a split that were taken."""

    labels: list[Label] = field(default_factory=list)
    groups: list[Label | None] = field(default_factory=list)


class _Reader:
    def __init__(self, found: Found, config: DataConfig) -> None:
        self.collector = ImageCollector(name=found.where, config=config)
        self.bad: list[_Bad] = []
        self._left_out_test = ""
        self._found, self._leaves_out = found, config.bad_images == "leave-out"
        self._num_seen = 0
        self._groups: dict[Label, int] = {}
        self._known_texts = set(found.class_names or ())

    def read(self, records: Iterable[Record], *, labelled: bool = True) -> _Rows:
        """Take what is good of a split; without labels, whatever they are."""
        rows = _Rows()
        for record in records:
            self._num_seen += 1
            try:
                label = self._checked_label(record) if labelled else ""
                picture = record.read()
            except AugmentError as error:
                self.bad.append(_Bad(type(error), str(error)))
                continue
            self.collector.add(picture, where=record.where)
            rows.labels.append(label)
            rows.groups.append(record.group)
        return rows

    def read_test(self, records: Iterable[Record]) -> _Rows | None:
        """Take what is good of the test split; None where nothing of it has a label and it may be left out.

        Raises:
            UsageError: nothing of it has a label.
        """
        unlabelled = 0
        seen, bad = self._num_seen, len(self.bad)

        def counted() -> Iterable[Record]:
            nonlocal unlabelled
            for record in records:
                unlabelled += _is_unlabelled(record.label)
                yield record

        rows = self.read(counted())
        total = self._num_seen - seen
        if not total or unlabelled < total:
            return rows
        if not self._leaves_out:
            raise UsageError(
                f"{self._found.where}: none of the {total:,} test images has a label; leave the test split out with "
                "--set data.test_split=ignore (a share of the train split is then held out)"
            )
        del self.bad[bad:]
        self._left_out_test = f"the test split was left out: none of its {total:,} images has a label"
        return None

    def refuse_bad(self) -> None:
        """Raise where an image or label is bad and none is to be left out: the first several, and how many."""
        if not self.bad or self._leaves_out:
            return
        first = self.bad[0]
        if len(self.bad) == 1:
            raise first.kind(f"{first.message} ({_LEAVE_OUT} leaves it out)")
        advices = {bad.message.partition("; ")[2] for bad in self.bad}
        shared = advices.pop() if len(advices) == 1 else ""
        raise first.kind(
            f"{self._found.where}: {len(self.bad):,} of {self._num_seen:,} images cannot be used: {self._shown_bad()}; "
            f"{shared or 'repair them'}, or leave them out with {_LEAVE_OUT}"
        )

    def facts(self) -> list[str]:
        """Return what was left out."""
        bad = [f"{len(self.bad):,} bad images were left out: {self._shown_bad()}"] if self.bad else []
        return bad + ([self._left_out_test] if self._left_out_test else [])

    def _shown_bad(self) -> str:
        more = f"; and {len(self.bad) - SHOWN:,} more" if len(self.bad) > SHOWN else ""
        shown = "; ".join(bad.message.split("; ")[0] for bad in self.bad[:SHOWN])  # without each one's advice
        return _below(shown, self._found.base) + more

    def group_ids(self, rows: _Rows) -> npt.NDArray[np.int64] | None:
        """Return the groups' running numbers, the same in both splits; -1 where an image has none."""
        numbers = [-1 if group is None else self._groups.setdefault(group, len(self._groups)) for group in rows.groups]
        return np.array(numbers, np.int64) if self._groups else None

    def layout(self) -> list[str]:
        """Return how many groups there are; call it after `group_ids`."""
        return [f"groups: {len(self._groups):,}"] if self._groups else []

    def _checked_label(self, record: Record) -> Label:
        label, names = record.label, self._found.class_names
        if label is None:
            raise AugmentError(f"{record.where}: the label is missing; fill it in or remove the image")
        if isinstance(label, str):
            if label not in self._known_texts:
                if names is not None:
                    raise AugmentError(f"{record.where}: label {label[:50]!r} is not one of the class names")
                self._known_texts.add(check_class_name(label, where=record.where))
        elif label < 0:
            raise AugmentError(
                f"{record.where}: label {label} is negative, so the image counts as unlabelled; number classes from 0"
            )
        elif names is not None and label >= len(names):
            raise AugmentError(f"{record.where}: label {label} is out of range, there are {len(names)} classes")
        return label


def _is_unlabelled(label: Label | None) -> bool:
    return label is None or label == "" or (isinstance(label, int) and label < 0)
