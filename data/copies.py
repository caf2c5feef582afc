"""Images that are copies of others, exact or nearly; what must not be divided; data that are blank."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.images import LabelledImages, identities

MAX_PAIRS = 200_000_000  # of a train and a test image that are compared: a third of a second on one core
THUMBNAIL_SIDE = 8
MIN_SIMILARITY = 0.99
TYPICAL_SHARE = 0.25
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

    Thumbnails of 8x8 pixels find each test image's likeliest original; the correlation of all pixels decides. On
    MNIST, CIFAR-10, PneumoniaMNIST and scikit-learn's digits no pair of different images reaches `MIN_SIMILARITY`,
    and all images saved as JPEG of quality 75 do. Where images differ much from each other, less is asked for: a
    quarter of the distance that a test image typically has from its nearest train image. Crops and mirrored images
    are not found. At most `MAX_PAIRS` pairs are compared: of more, evenly spaced test images are looked at.
    """
    step = max(1, -(-len(train) * len(test) // MAX_PAIRS))
    rows = np.arange(0, len(test), step, dtype=np.int64)
    if not len(rows) or not len(train):
        return NearCopies(count=0, looked_at=0, example=None)
    tested = _thumbnails(test.images[rows])
    best, nearest = np.full(len(rows), -2.0, np.float32), np.zeros(len(rows), np.int64)
    for start in range(0, len(train), _CHUNK):
        trained = _thumbnails(train.images[start : start + _CHUNK])
        for first in range(0, len(rows), _CHUNK):
            part = slice(first, first + _CHUNK)
            similar = tested[part] @ trained.T
            highest = similar.argmax(1)
            value = similar[np.arange(len(similar)), highest]
            better = value > best[part]
            best[part][better] = value[better]
            nearest[part][better] = highest[better] + start
    likely = np.flatnonzero(best > 0)  # images without contrast resemble nothing
    if not len(likely):
        return NearCopies(count=0, looked_at=len(rows), example=None)
    found, originals = test.images[rows[likely]], train.images[nearest[likely]]
    correlation = (_standardised(found) * _standardised(originals)).sum(1)
    is_exact = (found == originals).reshape(len(likely), -1).all(1)
    distance = np.sqrt(2 * (1 - correlation.clip(-1, 1)))
    enough = min(MIN_SIMILARITY, 1 - (TYPICAL_SHARE * float(np.median(distance))) ** 2 / 2)
    is_near = (correlation >= enough) & ~is_exact
    if not is_near.any():
        return NearCopies(count=0, looked_at=len(rows), example=None)
    closest = int(np.argmax(np.where(is_near, correlation, -2)))
    pair = int(test.rows[rows[likely[closest]]]), int(train.rows[nearest[likely[closest]]])
    return NearCopies(count=int(is_near.sum()), looked_at=len(rows), example=pair)


def _thumbnails(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return standardised thumbnails (N, 64) of (N, C, H, W): means over blocks of pixels and over colours."""
    gray = images.mean(1, dtype=np.float32)
    for axis in (1, 2):
        edges = np.linspace(0, gray.shape[axis], THUMBNAIL_SIDE + 1).round().astype(int)
        shape = [1, 1, 1]
        shape[axis] = -1
        gray = np.add.reduceat(gray, edges[:-1], axis=axis) / np.diff(edges).reshape(shape)
    return _standardised(gray)


def _standardised(images: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (N, D) rows of mean 0 and length 1, or 0 where an image has no contrast: products are correlations."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    flat /= np.where(length > 1e-3, length, np.inf)
    return flat


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
