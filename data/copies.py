"""Images that are copies of others, exact or nearly; what must not be divided; data that are blank."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from data.images import LUMINANCE, LabelledImages, identities
from data.unlabelled import UnlabelledImages

MAX_PAIRS = 200_000_000  # of a train and a test image that are compared: a third of a second on one core
MAX_OWN_PAIRS = 50_000_000  # of images of one split
MAX_RANKED_PAIRS = 30_000_000  # of those whose neighbours are ranked
THUMBNAIL_SIDE = 8
LIKELY = 0.9  # correlation of thumbnails from which on all pixels are compared
MIN_SIMILARITY = 0.9  # correlation of all pixels of near copies
SURE_SIMILARITY = 0.99
MAX_DISTANCE_SHARE = 0.35  # of the distance to the fifth nearest thumbnail
ALIKE_COLOURS = 0.8  # correlation of colour thumbnails: JPEG blurs colours
_NEIGHBOUR = 5
LEAST_UNITS = 4  # of each class, that folds are made of
FLAT = 8  # grey levels between the darkest and brightest pixel of an image without contrast
DARK = 64
_CHUNK = 4096  # thumbnails that are compared at once
_BLOCK = 256  # images that are shrunk at once, as fit into a processor's cache


@dataclass(frozen=True, kw_only=True)
class NearCopies:
    """Test images that are nearly a train image.

    Attributes:
        count: how many, without exact copies.
        looked_at: how many test images were compared with all train images.
        example: (row of the test split, row of the train split) of the most similar pair, or None.
    """

    count: int
    looked_at: int
    example: tuple[int, int] | None


def kept_together(images: LabelledImages, near: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.int64]:
    """Return (N,) int64 ids that are equal where images must not be divided: of one group, identical, or near copies.

    Near copies may be divided where a class would else come away with fewer than `LEAST_UNITS` units, and fewer than
    it has without: images that are all alike are no copies. Ids are running numbers in order of first appearance.

    Args:
        near: what `near_copy_pairs` finds, where it is known.
    """
    exact = _units(images, [])
    pairs = near_copy_pairs(images) if near is None else near
    if not len(pairs):
        return exact
    units = _units(images, pairs.tolist())
    for label in range(images.num_classes):
        of_class = images.labels == label
        before, after = len(np.unique(exact[of_class])), len(np.unique(units[of_class]))
        if after < min(before, LEAST_UNITS):
            return exact
    return units


def near_copy_pairs(images: LabelledImages) -> npt.NDArray[np.int64]:
    """Return (P, 2) int64 positions of images that are near copies, as `near_copies` finds them; exact ones left out.

    Every image is held against the one that is most like it. Of too many, evenly spaced ones are.
    """
    first_of: dict[bytes, int] = {}
    for position, identity in enumerate(identities(images)):
        first_of.setdefault(identity, position)
    distinct = np.array(list(first_of.values()), np.int64)
    step = max(1, -(-(len(distinct) ** 2) // MAX_OWN_PAIRS))
    looked_at = np.arange(0, len(distinct), step, dtype=np.int64)
    pixels = images.images[distinct]
    thumbnails = _thumbnails(pixels)
    is_near, nearest, _ = _resembling(
        pixels, pixels[looked_at], thumbnails=(thumbnails, thumbnails[looked_at]), itself=looked_at
    )
    found = np.flatnonzero(is_near)
    return np.stack([distinct[looked_at[found]], distinct[nearest[found]]], axis=1)


def _units(images: LabelledImages, pairs: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
    """Return running ids that are equal for images of one group, identical ones, and those of `pairs`."""
    parents = list(range(len(images)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    first_of: dict[object, int] = {}
    groups = [] if images.groups is None else images.groups.tolist()
    for row, identity in enumerate(identities(images)):
        keys: tuple[object, ...] = (identity, groups[row]) if groups and groups[row] >= 0 else (identity,)
        for key in keys:
            other, own = root(first_of.setdefault(key, row)), root(row)
            parents[max(other, own)] = min(other, own)
    for one, two in pairs:
        other, own = root(one), root(two)
        parents[max(other, own)] = min(other, own)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(row), len(numbers)) for row in range(len(images))], np.int64)


def near_copies(train: LabelledImages | UnlabelledImages, test: LabelledImages) -> NearCopies:
    """Look for test images that are a train image saved anew (JPEG, brightness, contrast).

    Thumbnails of 8x8 pixels find each test image's likeliest original. It is one where the pixels correlate to
    `SURE_SIMILARITY`, or to `MIN_SIMILARITY` and the thumbnail is much nearer than its fifth neighbour; colours must be
    alike. Tried on MNIST, PneumoniaMNIST, scikit-learn's digits and a part of CIFAR-10: nothing is found in the first
    three, in CIFAR-10 only real near copies (the same aeroplane twice), and of images saved anew as JPEG of quality 50
    nearly all. Crops and mirrored images are not found. At most `MAX_PAIRS` pairs are compared: of more, evenly spaced
    test images are looked at.
    """
    step = max(1, -(-len(train) * len(test) // MAX_PAIRS))
    rows = np.arange(0, len(test), step, dtype=np.int64)
    tested = test.images[rows]
    is_near, nearest, similarity = _resembling(
        train.images, tested, thumbnails=(_thumbnails(train.images), _thumbnails(tested))
    )
    if not is_near.any():
        return NearCopies(count=0, looked_at=len(rows), example=None)
    closest = int(np.argmax(np.where(is_near, similarity, -2)))
    pair = int(test.rows[rows[closest]]), int(train.rows[nearest[closest]])
    return NearCopies(count=int(is_near.sum()), looked_at=len(rows), example=pair)


def _resembling(
    originals: npt.NDArray[np.uint8],
    images: npt.NDArray[np.uint8],
    *,
    thumbnails: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    itself: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return which images are near copies of an original, the likeliest original of each, and how similar that is.

    Args:
        thumbnails: of originals and images.
        itself: each image's own position among the originals, where it is one.
    """
    trained, tested = thumbnails
    best, nearest = _nearest(trained, tested, itself)
    likely = np.flatnonzero(best >= LIKELY)  # never images without contrast, which resemble nothing
    likely = likely[np.argsort(-best[likely], kind="stable")]
    found, alike = images[likely], originals[nearest[likely]]
    similarity = _correlation(_luminance(found), _luminance(alike))
    is_alike = _correlation(_block_means(found), _block_means(alike)) >= ALIKE_COLOURS
    is_exact = (found == alike).all((1, 2, 3))
    own = None if itself is None else itself[likely]
    stands_out = _stands_out(trained, tested[likely], own)
    is_near = (similarity >= SURE_SIMILARITY) | (stands_out & (similarity >= MIN_SIMILARITY))
    is_near &= is_alike & ~is_exact
    of_all, similar = np.zeros(len(images), np.bool_), np.full(len(images), -2, np.float32)
    of_all[likely], similar[likely] = is_near, similarity
    return of_all, nearest, similar


def _nearest(
    trained: npt.NDArray[np.float32], tested: npt.NDArray[np.float32], itself: npt.NDArray[np.int64] | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return each test thumbnail's highest correlation with a train thumbnail, and which that is."""
    best, nearest = np.full(len(tested), -2, np.float32), np.zeros(len(tested), np.int64)
    for start in range(0, len(trained), _CHUNK):
        for first in range(0, len(tested), _CHUNK):
            part = slice(first, first + _CHUNK)
            similar = tested[part] @ trained[start : start + _CHUNK].T
            if itself is not None:
                own = itself[part] - start
                inside = np.flatnonzero((own >= 0) & (own < similar.shape[1]))
                similar[inside, own[inside]] = -2
            highest = similar.argmax(1)
            value = similar[np.arange(len(similar)), highest]
            better = value > best[part]
            best[part][better] = value[better]
            nearest[part][better] = highest[better] + start
    return best, nearest


def _stands_out(
    trained: npt.NDArray[np.float32], tested: npt.NDArray[np.float32], itself: npt.NDArray[np.int64] | None
) -> npt.NDArray[np.bool_]:
    """Tell whose nearest thumbnail is much nearer than the fifth, of the first test images that time allows."""
    outstanding = np.zeros(len(tested), np.bool_)
    if len(trained) < _NEIGHBOUR:
        return outstanding
    for row in range(min(len(tested), MAX_RANKED_PAIRS // len(trained))):
        similar = tested[row] @ trained.T
        if itself is not None:
            similar[itself[row]] = -2
        ranked = np.partition(similar, len(trained) - _NEIGHBOUR)[-_NEIGHBOUR:]
        nearest, fifth = np.sqrt(2 - 2 * np.clip([ranked.max(), ranked[0]], -1, 1))
        outstanding[row] = nearest <= MAX_DISTANCE_SHARE * fifth
    return outstanding


def _thumbnails(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return standardised thumbnails (N, 64) of the luminance of (N, C, H, W)."""
    parts = [images[start : start + _BLOCK] for start in range(0, len(images), _BLOCK)]
    thumbnails = [_standardised(_luminance(_block_means(part))) for part in parts]
    return np.concatenate([np.zeros((0, THUMBNAIL_SIDE**2), np.float32), *thumbnails])


def _luminance(images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return (N, 1, H, W) luminance of (N, C, H, W): JPEG keeps it, and blurs colours."""
    if images.shape[1] == 1:
        return images.astype(np.float32)
    return np.tensordot(images.astype(np.float32), LUMINANCE.astype(np.float32), (1, 0))[:, None]


def _block_means(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return thumbnails (N, C, 8, 8) of (N, C, H, W): means over blocks of pixels."""
    height, width = images.shape[2:]
    return np.asarray(_averaging(height).T @ (images.astype(np.float32) @ _averaging(width)), np.float32)


def _averaging(side: int) -> npt.NDArray[np.float32]:
    """Return the matrix (side, 8) that means over eighths of a line of pixels."""
    edges = np.linspace(0, side, THUMBNAIL_SIDE + 1).round().astype(int)
    matrix = np.zeros((side, THUMBNAIL_SIDE), np.float32)
    for column, (first, last) in enumerate(pairwise(edges)):
        matrix[first:last, column] = 1 / (last - first)
    return matrix


def _correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the correlation of each pair of images, (N,)."""
    products = _standardised(first) * _standardised(second)
    return np.asarray(products.sum(1), np.float32)


def _standardised(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (N, D) rows of mean 0 and length 1, or 0 where an image has no contrast: products are correlations."""
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    flat = flat - flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.where(length > 1e-3, length, np.inf), np.float32)


def contradictory(splits: Sequence[LabelledImages]) -> list[tuple[int, int]]:
    """Return two labels of each image that occurs, pixel by pixel, with more than one label in these splits."""
    labels: dict[bytes, dict[int, None]] = {}
    for split in splits:
        for identity, label in zip(identities(split), split.labels.tolist(), strict=True):
            labels.setdefault(identity, {})[label] = None
    return [(first, second) for first, second, *_ in (found for found in labels.values() if len(found) > 1)]


def num_flat(images: LabelledImages) -> int:
    """Return how many images have no contrast: all pixels alike."""
    if not len(images):
        return 0
    flat = images.images.reshape(len(images), -1)
    return int((flat.max(1) - flat.min(1) <= FLAT).sum())


def blankness(images: LabelledImages) -> str:
    """Return why the images hold next to nothing to learn from, or "": one image again and again, no contrast, dark."""
    if not len(images):
        return ""
    (_, most), *_ = Counter(identities(images)).most_common(1)
    reasons = []
    if most == len(images) > 1:
        return f"all {len(images):,} images are one and the same"
    if 2 * most > len(images) > 2:
        reasons.append(f"{most:,} of {len(images):,} images are one and the same")
    without_contrast = num_flat(images)
    if 2 * without_contrast > len(images):
        reasons.append(f"{without_contrast:,} of {len(images):,} images have no contrast (all pixels alike)")
    elif (brightest := int(images.images.max())) < DARK:
        reasons.append(
            f"the brightest pixel of all images is {brightest} of 255 (--set data.bits={brightest.bit_length()} "
            "scales it up)"
        )
    return ", ".join(reasons)
