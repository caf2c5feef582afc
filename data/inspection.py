"""What a data set holds: counts, duplicates, the regimes that it can fill, and a picture of examples."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.base.errors import UsageError
from data.config import ImagesPerClass
from data.copies import NearCopies, blankness, contradictory, near_copies, num_flat
from data.images import LabelledImages, identities
from data.policy_candidates import policy_candidates, usual_policy
from data.regimes import Regime, check_regime, regime_of
from data.sources.collecting import resized
from data.sources.source import Source

CANDIDATES: tuple[ImagesPerClass, ...] = (
    10, 50, 100, 500, "all", "long-tailed:50:10", "long-tailed:500:10", "long-tailed:500:100"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Facts about a source.

    Attributes:
        duplicates_in_train: images that repeat an earlier one, pixel by pixel; likewise in the test split.
        duplicates_across: test images that occur in the train split too: they make a test too easy.
        near_copies: test images that are nearly a train image, such as one saved anew.
        groups: how many there are in the train split, in the test split and in both; None where nothing is grouped.
        contradictions: images that occur with more than one label, in both splits together.
        num_flat: images without contrast, in both splits together.
        blankness: why there is next to nothing to learn from, or "".
        values: the darkest and the brightest pixel of both splits.
        regimes: the values of `images_per_class` that the train split can fill, with their regimes.
        largest_balanced: most images per class that a balanced regime may ask for.
        policies: of classical augmentation, that a cell chooses from.
        usual_policy: the one where it cannot tell.
    """

    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    duplicates_in_train: int
    duplicates_in_test: int
    duplicates_across: int
    near_copies: NearCopies
    groups: tuple[int, int, int] | None
    contradictions: int
    num_flat: int
    blankness: str
    values: tuple[int, int]
    regimes: tuple[tuple[ImagesPerClass, Regime], ...]
    largest_balanced: int
    policies: tuple[str, ...]
    usual_policy: str


def inspect_source(source: Source) -> Inspection:
    """Count classes, copies and groups of a source, and try the usual regimes."""
    train, test = identities(source.train), identities(source.test)
    seen_in_train = set(train)
    return Inspection(
        train_counts=tuple(source.train.class_counts().tolist()),
        test_counts=tuple(source.test.class_counts().tolist()),
        duplicates_in_train=len(train) - len(seen_in_train),
        duplicates_in_test=len(test) - len(set(test)),
        duplicates_across=sum(identity in seen_in_train for identity in test),
        near_copies=near_copies(source.train, source.test),
        groups=_groups(source),
        contradictions=len(contradictory([source.train, source.test])),
        num_flat=num_flat(source.train) + num_flat(source.test),
        blankness=blankness(source.train),
        values=(
            min(int(split.images.min()) for split in (source.train, source.test)),
            max(int(split.images.max()) for split in (source.train, source.test)),
        ),
        regimes=tuple((value, regime_of(value)) for value in CANDIDATES if _fills(source.train, regime_of(value))),
        largest_balanced=int(source.train.class_counts().min()),
        policies=policy_candidates(source.train),
        usual_policy=usual_policy(source.train),
    )


def _groups(source: Source) -> tuple[int, int, int] | None:
    if source.train.groups is None or source.test.groups is None:
        return None
    train, test = np.unique(source.train.groups), np.unique(source.test.groups)
    train, test = train[train >= 0], test[test >= 0]
    return len(train), len(test), len(np.intersect1d(train, test))


def example_grid(images: LabelledImages, *, columns: int, max_classes: int, max_side: int) -> npt.NDArray[np.uint8]:
    """Return a picture (height, width, 3): a row of `columns` examples for each of the first classes, black between.

    Images are shrunk to `max_side` pixels where they are larger.
    """
    _, height, width = images.shape
    shrink = min(1.0, max_side / max(height, width))
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    rows = min(images.num_classes, max_classes)
    picture = np.zeros((rows * (size[0] + 1) - 1, columns * (size[1] + 1) - 1, 3), np.uint8)
    for label in range(rows):
        for column, index in enumerate(np.flatnonzero(images.labels == label)[:columns]):
            top, left = label * (size[0] + 1), column * (size[1] + 1)
            example = resized(images.images[index], size).transpose(1, 2, 0)
            picture[top : top + size[0], left : left + size[1]] = example
    return picture


def _fills(train: LabelledImages, regime: Regime) -> bool:
    try:
        check_regime(train, regime)
    except UsageError:
        return False
    return True
