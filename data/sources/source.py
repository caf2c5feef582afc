"""What a source gives, and the test split that is held out where the data set has none."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.base.errors import AugmentError
from data.base.limits import MAX_CLASSES, MIN_CLASSES
from data.base.randomness import numpy_stream
from data.images import LabelledImages, identities


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set ready for a study.

    Attributes:
        name: the data set that was really loaded.
        warning: what the reader of a report must know about how it was chosen or read, or "".
        resized_from: (height, width) of the images before they were resized by rule, or None.
        held_out: whether the test split was drawn from the data set's only split.
        verified: whether the files' digests were compared with published ones.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    warning: str = ""
    resized_from: tuple[int, int] | None = None
    held_out: bool = False
    verified: bool = False


def hold_out(
    labels: npt.NDArray[np.int64], *, share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split row numbers into train and test, stratified by class, each ordered.

    Every class keeps at least one image for training; a class with two images or more gives at least one to the test.
    """
    rng = numpy_stream(seed, "held-out test split")
    test: list[npt.NDArray[np.int64]] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        test.append(rng.choice(rows, count, replace=False))
    test_rows = np.sort(np.concatenate(test)).astype(np.int64)
    return np.setdiff1d(np.arange(len(labels), dtype=np.int64), test_rows), test_rows


@dataclass(frozen=True, kw_only=True)
class UserImages:
    """A user's data set as read, before it is split.

    Attributes:
        train: all images, or those of the train split where `test` is given.
        test: the data set's own test split, or None.
        facts: what the reader of a report must know about how it was read.
        resized_from: (height, width) of the images before they were resized, or None.
    """

    name: str
    train: LabelledImages
    test: LabelledImages | None
    facts: tuple[str, ...]
    resized_from: tuple[int, int] | None


def split_source(user: UserImages, *, share: float, seed: int) -> Source:
    """Make a source of a user's images: the given test split, or a share of every class held out by `seed`.

    Raises:
        AugmentError: too few or too many classes, a class without training images, or nothing to test on.
    """
    check_classes(user.name, user.train)
    notes = list(user.facts)
    train, test = user.train, user.test
    if test is None:
        train_rows, test_rows = hold_out(train.labels, share=share, seed=seed)
        notes.append(f"{len(test_rows):,} of {len(train):,} images are held out for testing (seed {seed})")
        train, test = train.take(train_rows), train.take(test_rows)
    if not len(test):
        raise AugmentError(f"{user.name}: no images are left to test on; add images or a test split")
    in_train = set(identities(train))
    repeated = sum(identity in in_train for identity in identities(test))
    if repeated:
        notes.append(f"{repeated:,} test images are in the train split too: the measured accuracy is too high")
    untested = [repr(train.class_names[label]) for label in np.flatnonzero(test.class_counts() == 0)]
    if untested:
        others = f" and {len(untested) - 5} others" if len(untested) > 5 else ""
        notes.append(f"there is no test image of class {', '.join(untested[:5])}{others}")
    return Source(
        name=user.name,
        train=train,
        test=test,
        warning="; ".join(notes),
        resized_from=user.resized_from,
        held_out=user.test is None,
    )


def check_classes(name: str, images: LabelledImages) -> None:
    """Make sure that a study can be made of these classes.

    Raises:
        AugmentError: fewer than 2 or more than 100 classes, or a class without images.
    """
    if not MIN_CLASSES <= images.num_classes <= MAX_CLASSES:
        raise AugmentError(
            f"{name} has {images.num_classes} classes; {MIN_CLASSES} to {MAX_CLASSES} are supported (is the label "
            "column the right one?)"
        )
    counts = images.class_counts()
    if counts.min() == 0:
        missing = images.class_names[int(counts.argmin())]
        raise AugmentError(f"{name}: class {missing!r} has no image to train on; add some or remove the class")
