"""What a source gives, and the test split that is held out where the data set has none."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from data.base.errors import AugmentError
from data.base.limits import MAX_CLASSES, MIN_CLASSES
from data.base.names import unified_name
from data.base.randomness import numpy_stream
from data.copies import blankness, contradictory, kept_together, near_copies, near_copy_pairs
from data.images import LabelledImages, identities
from data.unlabelled import UnlabelledSource

LEAST_TO_COMPARE = 10  # images of a split
ALIKE_SPANS = 0.6  # of the pixels of a split, as a share of the other's
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set ready for a study.

    Attributes:
        name: the data set that was really loaded; of a path only the last part, so that it may be published.
        warning: what the reader of a report must know about how it was chosen or read, or "".
        resized_from: (height, width) of the images before they were resized by rule, or None.
        held_out: whether the test split was drawn from the data set's only split.
        verified: whether the files' digests were compared with published ones.
        notes: what `warning` says, one by one.
        split_notes: those of them that are about a test split that was held out; where it is not used they are void.
        layout: how the data set was found to be laid out, and which part went where; a line each.
        left_out: images that were left out as bad, each with its reason.
        unlabelled: images without labels that were given beside it, or None.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    warning: str = ""
    resized_from: tuple[int, int] | None = None
    held_out: bool = False
    verified: bool = False
    notes: tuple[str, ...] = ()
    split_notes: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    unlabelled: UnlabelledSource | None = None

    @property
    def warning_without_split(self) -> str:
        """What `warning` says where no test split is held out."""
        if not self.split_notes:
            return self.warning
        return "; ".join(note for note in self.notes if note not in self.split_notes)


def hold_out(
    labels: npt.NDArray[np.int64], *, share: float, seed: int, units: npt.NDArray[np.int64] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split row numbers into train and test, stratified by class, each ordered.

    Every class keeps at least one image for training; a class with two images or more gives at least one to the test,
    where its units allow it.

    Args:
        units: (N,) ids of what is never divided, such as a patient's images; None: each image is its own.
    """
    rng = numpy_stream(seed, "held-out test split")
    if units is not None and len(np.unique(units)) < len(units):
        is_test = _whole_units(labels, units, share=share, rng=rng)
        return np.flatnonzero(~is_test).astype(np.int64), np.flatnonzero(is_test).astype(np.int64)
    test: list[npt.NDArray[np.int64]] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        test.append(rng.choice(rows, _wanted(len(rows), share), replace=False))
    test_rows = np.sort(np.concatenate(test)).astype(np.int64)
    return np.setdiff1d(np.arange(len(labels), dtype=np.int64), test_rows), test_rows


def _wanted(count: int, share: float) -> int:
    """Return how many of a class's images are tested on: at least one, and not all."""
    return min(max(1, round(share * count)), count - 1)


def _whole_units(
    labels: npt.NDArray[np.int64], units: npt.NDArray[np.int64], *, share: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Choose whole units in random order, each if it fits into what is still wanted of all its classes.

    A class that came away empty then gives its smallest unit, if every class keeps an image for training.
    """
    totals = np.bincount(labels)
    open_places = np.array([_wanted(int(total), share) if total else 0 for total in totals])
    taken = np.zeros_like(totals)
    _, unit_of = np.unique(units, return_inverse=True)
    order = np.argsort(unit_of, kind="stable")
    rows_of = np.split(order, np.flatnonzero(np.diff(unit_of[order])) + 1)
    classes_of = [np.unique(labels[rows], return_counts=True) for rows in rows_of]
    is_test = np.zeros(len(labels), np.bool_)
    for unit in rng.permutation(len(rows_of)):
        classes, counts = classes_of[unit]
        if (taken[classes] + counts <= open_places[classes]).all():
            taken[classes] += counts
            is_test[rows_of[unit]] = True
    for label in np.flatnonzero((taken == 0) & (totals > 1)):
        fitting = [
            unit
            for unit, (classes, counts) in enumerate(classes_of)
            if label in classes and not is_test[rows_of[unit][0]] and (taken[classes] + counts < totals[classes]).all()
        ]
        if fitting:
            unit = min(fitting, key=lambda unit: len(rows_of[unit]))
            classes, counts = classes_of[unit]
            taken[classes] += counts
            is_test[rows_of[unit]] = True
    return is_test


@dataclass(frozen=True, kw_only=True)
class UserImages:
    """A user's data set as read, before it is split.

    Attributes:
        name: as it may be published.
        where: as it was given, for messages.
        train: all images, or those of the train split where `test` is given.
        test: the data set's own test split, or None.
        facts: what the reader of a report must know about how it was read.
        resized_from: (height, width) of the images before they were resized, or None.
        layout, left_out: see `Source`.
    """

    name: str
    where: str
    train: LabelledImages
    test: LabelledImages | None
    facts: tuple[str, ...]
    resized_from: tuple[int, int] | None
    layout: tuple[str, ...] = field(default=())
    left_out: tuple[str, ...] = field(default=())


def split_source(user: UserImages, *, share: float, seed: int) -> Source:
    """Make a source of a user's images: the given test split, or a share of every class held out by `seed`.

    Identical images, near copies and those of one group are never divided by it.

    Raises:
        AugmentError: too few or too many classes, a class without training images, nothing to test on, or all images
            are one and the same.
    """
    check_classes(user.where, user.train)
    blank = blankness(user.train)
    if blank.startswith("all "):
        raise AugmentError(
            f"{user.where}: {blank}; look at the files (if they are transparent, try --set data.alpha_ground=black)"
        )
    notes = [f"THE IMAGES ARE NEARLY BLANK: {blank}"] if blank else []
    of_split: list[str] = []
    notes += user.facts
    notes += _contradictions([user.train] if user.test is None else [user.train, user.test])
    pairs = near_copy_pairs(user.train)
    notes += _near_copies_within(user.train, pairs)
    train, test = user.train, user.test
    if test is None:
        units = kept_together(train, pairs)
        train_rows, test_rows = hold_out(train.labels, share=share, seed=seed, units=units)
        together = ""
        if len(np.unique(units)) < len(units):
            kept = "identical images" if train.groups is None else "each group and identical images"
            kept += " and near copies" if len(pairs) else ""
            together = f", {kept} kept together"
        held = f"{len(test_rows):,} of {len(train):,} images are held out for testing (seed {seed}{together})"
        notes.append(held)
        of_split.append(held)
        train, test = train.take(train_rows), train.take(test_rows)
    if not len(test):
        lone = "every class is one group, which is not divided" if train.groups is not None else "add images"
        raise AugmentError(f"{user.where}: no images are left to test on; {lone}, or give a test split")
    notes += _uniform_classes(train)
    if user.test is not None and blankness(test):
        notes.insert(0, f"THE TEST IMAGES ARE NEARLY BLANK: {blankness(test)}")
    elif user.test is not None:
        notes += _other_scale(train, test)
    crossing = _crossing(train, test)
    notes += crossing
    of_split += crossing if user.test is None else []
    untested = [repr(train.class_names[label]) for label in np.flatnonzero(test.class_counts() == 0)]
    if untested:
        others = f" and {len(untested) - _SHOWN} others" if len(untested) > _SHOWN else ""
        lacking = f"there is no test image of class {', '.join(untested[:_SHOWN])}{others}"
        notes.append(lacking)
        of_split += [lacking] if user.test is None else []
    notes += _alike_names(train.class_names)
    return Source(
        name=user.name,
        train=train,
        test=test,
        warning="; ".join(notes),
        notes=tuple(notes),
        split_notes=tuple(of_split),
        resized_from=user.resized_from,
        held_out=user.test is None,
        layout=user.layout,
        left_out=user.left_out,
    )


def unsplit_source(user: UserImages) -> Source:
    """Make a source whose train split is all images of both splits, whatever they hold: to be measured, not studied."""
    parts = [user.train] if user.test is None else [user.train, user.test]
    images = LabelledImages(
        images=np.concatenate([part.images for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        rows=np.arange(sum(map(len, parts)), dtype=np.int64),
        class_names=user.train.class_names,
    )
    return Source(
        name=user.name,
        train=images,
        test=images.take(np.empty(0, np.int64)),
        warning="; ".join(user.facts),
        notes=user.facts,
        resized_from=user.resized_from,
        layout=user.layout,
        left_out=user.left_out,
    )


def _other_scale(train: LabelledImages, test: LabelledImages) -> list[str]:
    """Return a note where the values of one split span far less than those of the other, as of other transforms."""
    if min(len(train), len(test)) < LEAST_TO_COMPARE:
        return []
    (low, high), (test_low, test_high) = _span(train), _span(test)
    narrow, wide = sorted([high - low, test_high - test_low])
    if narrow >= ALIKE_SPANS * wide:
        return []
    return [
        f"PIXELS OF THE TEST IMAGES LIE FROM {test_low} TO {test_high}, OF THE TRAIN IMAGES FROM {low} TO {high}: are "
        "both scaled alike?"
    ]


def _span(images: LabelledImages) -> tuple[int, int]:
    """Return the 1st and the 99th percentile of all pixels, of at most 1,000 images."""
    some = images.images[:: -(-len(images) // 1000)]
    shares = np.bincount(some.ravel(), minlength=256).cumsum() / some.size
    return int(np.searchsorted(shares, 0.01)), int(np.searchsorted(shares, 0.99))


def _crossing(train: LabelledImages, test: LabelledImages) -> list[str]:
    """Return what is in both splits and makes the test too easy."""
    notes = []
    in_train = set(identities(train))
    repeated = sum(identity in in_train for identity in identities(test))
    if repeated:
        notes.append(f"{repeated:,} test images are in the train split too: the measured accuracy is too high")
    near = near_copies(train, test)
    if near.count and near.example is not None:
        among = "" if near.looked_at == len(test) else f" of {near.looked_at:,} looked at"
        test_row, train_row = near.example
        notes.append(
            f"{near.count:,} test images{among} are nearly the same as a train image, such as test row {test_row} and "
            f"train row {train_row}: the measured accuracy may be too high"
        )
    if train.groups is not None and test.groups is not None:
        both = np.intersect1d(train.groups[train.groups >= 0], test.groups[test.groups >= 0])
        if len(both):
            notes.append(f"{len(both):,} groups have images in both splits: the measured accuracy may be too high")
    return notes


def _contradictions(splits: Sequence[LabelledImages]) -> list[str]:
    """Return a note on images that occur in several classes."""
    found = contradictory(splits)
    if not found:
        return []
    first, second = (splits[0].class_names[label] for label in found[0])
    images = "1 image occurs" if len(found) == 1 else f"{len(found):,} images occur"
    return [f"{images} in several classes, such as in {first!r} and {second!r}: no answer to them is right everywhere"]


def _near_copies_within(images: LabelledImages, pairs: npt.NDArray[np.int64]) -> list[str]:
    """Return a note on images that are another one saved anew, and whether splits and folds divide them."""
    if not len(pairs):
        return []
    count, units = len(np.unique(pairs)), kept_together(images, pairs)
    first, second = (int(images.rows[position]) for position in pairs[0])
    kept = (units[pairs[:, 0]] == units[pairs[:, 1]]).all()
    fate = (
        "no split or fold divides them"
        if kept
        else "BUT TOO MANY TO KEEP TOGETHER: THE MEASURED ACCURACY MAY BE TOO HIGH"
    )
    return [f"{count:,} images are nearly the same as another one, such as rows {first} and {second}; {fate}"]


def _uniform_classes(train: LabelledImages) -> list[str]:
    """Return a note on classes all of whose train images are one and the same."""
    rows_of = np.split(np.argsort(train.labels, kind="stable"), np.cumsum(train.class_counts())[:-1])
    found = [
        repr(name)
        for name, rows in zip(train.class_names, rows_of, strict=True)
        if len(rows) > 1 and (train.images[rows] == train.images[rows[:1]]).all()
    ]
    more = f" and {len(found) - _SHOWN} others" if len(found) > _SHOWN else ""
    return [f"all train images are one and the same in class {', '.join(found[:_SHOWN])}{more}"] if found else []


def _alike_names(class_names: tuple[str, ...]) -> list[str]:
    """Return a note on classes whose names differ in case only."""
    first_of: dict[str, str] = {}
    for name in class_names:
        other = first_of.setdefault(unified_name(name).casefold(), name)
        if other != name:
            return [f"classes {other!r} and {name!r} differ in case only: if they are one, give them one name"]
    return []


def check_classes(where: str, images: LabelledImages) -> None:
    """Make sure that a study can be made of these classes.

    Raises:
        AugmentError: fewer than 2 or more than 1,000 classes, or a class without images.
    """
    if not MIN_CLASSES <= images.num_classes <= MAX_CLASSES:
        raise AugmentError(
            f"{where} has {images.num_classes:,} classes; {MIN_CLASSES} to {MAX_CLASSES:,} are supported (is the label "
            "column the right one?)"
        )
    counts = images.class_counts()
    if counts.min() == 0:
        missing = images.class_names[int(counts.argmin())]
        raise AugmentError(f"{where}: class {missing!r} has no image to train on; add some or leave the class out")
