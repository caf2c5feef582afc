"""Images that are copies of others, exact or nearly; what must not be divided; data that are blank."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.images import LUMINANCE, LabelledImages, identities

MAX_PAIRS = 200_000_000  # of a train and a test image that are compared: a third of a second on one core
THUMBNAIL_SIDE = 8
MIN_SIMILARITY = 0.99
TYPICAL_SHARE = 0.35
ALIKE_COLOURS = 0.8  # correlation of colour thumbnails: JPEG blurs colours
LIKELY = 0.9  # correlation of thumbnails from which on all pixels are compared
FLAT = 8  # grey levels between the darkest and brightest pixel of an image without contrast
DARK = 64
_CHUNK = 4096


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


def kept_together(images: LabelledImages) -> npt.NDArray[np.int64]:
    """Return (N,) int64 ids that are equal where images must not be divided: of one group, or identical.

    Ids are running numbers in order of first appearance.
    """
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
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(row), len(numbers)) for row in range(len(images))], np.int64)


def near_copies(train: LabelledImages, test: LabelledImages) -> NearCopies:
    """Look for test images that are a train image saved anew (JPEG, brightness, contrast), by correlation.

    Thumbnails of 8x8 pixels find each test image's likeliest original. The luminance of all pixels decides, where the
    thumbnails' colours are alike. No test image of MNIST, PneumoniaMNIST or scikit-learn's digits reaches
    `MIN_SIMILARITY`, and all of their images saved anew as JPEG of quality 75 do. Where even thumbnails differ much
    from each other, less is asked for: `TYPICAL_SHARE` of the distance that a test image's typically has from its
    nearest one; in a part of CIFAR-10 this finds real near copies, the same aeroplane twice. Crops and mirrored
    images are not found. At most `MAX_PAIRS` pairs are compared: of more, evenly spaced test images are looked at.
    """
    step = max(1, -(-len(train) * len(test) // MAX_PAIRS))
    rows = np.arange(0, len(test), step, dtype=np.int64)
    if not len(rows):
        return NearCopies(count=0, looked_at=0, example=None)
    tested = _standardised(_block_means(_luminance(test.images[rows])))
    best, nearest = np.full(len(rows), -2.0, np.float32), np.zeros(len(rows), np.int64)
    for start in range(0, len(train), _CHUNK):
        trained = _standardised(_block_means(_luminance(train.images[start : start + _CHUNK])))
        for first in range(0, len(rows), _CHUNK):
            part = slice(first, first + _CHUNK)
            similar = tested[part] @ trained.T
            highest = similar.argmax(1)
            value = similar[np.arange(len(similar)), highest]
            better = value > best[part]
            best[part][better] = value[better]
            nearest[part][better] = highest[better] + start
    typical = float(np.median(np.sqrt(2 * (1 - best.clip(-1, 1)))))
    enough = min(MIN_SIMILARITY, 1 - (TYPICAL_SHARE * typical) ** 2 / 2)
    likely = np.flatnonzero(best >= LIKELY)  # never images without contrast, which resemble nothing
    found, originals = test.images[rows[likely]], train.images[nearest[likely]]
    similarity = _correlation(_luminance(found), _luminance(originals))
    colours = _correlation(_block_means(found), _block_means(originals))
    is_exact = (found == originals).all((1, 2, 3))
    is_near = (similarity >= enough) & (colours >= ALIKE_COLOURS) & ~is_exact
    if not is_near.any():
        return NearCopies(count=0, looked_at=len(rows), example=None)
    closest = int(np.argmax(np.where(is_near, similarity, -2)))
    pair = int(test.rows[rows[likely[closest]]]), int(train.rows[nearest[likely[closest]]])
    return NearCopies(count=int(is_near.sum()), looked_at=len(rows), example=pair)


def _luminance(images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return (N, 1, H, W) luminance of (N, C, H, W): JPEG keeps it, and blurs colours."""
    if images.shape[1] == 1:
        return images.astype(np.float32)
    return np.tensordot(images.astype(np.float32), LUMINANCE.astype(np.float32), (1, 0))[:, None]


def _block_means(images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return thumbnails (N, C, 8, 8) of (N, C, H, W): means over blocks of pixels."""
    means: npt.NDArray[Any] = images.astype(np.float32)
    for axis in (2, 3):
        edges = np.linspace(0, means.shape[axis], THUMBNAIL_SIDE + 1).round().astype(int)
        shape = [1, 1, 1, 1]
        shape[axis] = -1
        means = np.add.reduceat(means, edges[:-1], axis=axis) / np.diff(edges).reshape(shape)
    return means.astype(np.float32)


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
    flat = images.images.reshape(len(images), -1)
    num_flat = int((flat.max(1) - flat.min(1) <= FLAT).sum())
    if 2 * num_flat > len(images):
        reasons.append(f"{num_flat:,} of {len(images):,} images have no contrast (all pixels alike)")
    elif int(flat.max()) < DARK:
        brightest = int(flat.max())
        reasons.append(
            f"the brightest pixel of all images is {brightest} of 255 (--set data.bits={brightest.bit_length()} "
            "scales it up)"
        )
    return ", ".join(reasons)
