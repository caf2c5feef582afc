"""Images without labels, which a study may use beside its labelled ones.

They are a type of their own, so that nothing that takes them can read a label: a source's are dropped where it is read,
a pool's where the rest of it is taken.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from data.base.randomness import numpy_stream
from data.images import LabelledImages, digests_of, joined

REST_OF_POOL = "pool"
"""The value of `data.unlabelled` that stands for the images of the pool that a cell's subset leaves."""


@dataclass(frozen=True, kw_only=True)
class UnlabelledImages:
    """Images alone.

    Attributes:
        images: (N, C, H, W) uint8, C = 1 (grayscale) or 3 (RGB).
        rows: (N,) int64, each image's row number in the data set's train split; below 0 for images from elsewhere.
    """

    images: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be (N, C, H, W) uint8, got {self.images.shape} {self.images.dtype}")
        if len(self.images) != len(self.rows):
            raise ValueError("images and rows differ in length")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def take(self, indices: npt.NDArray[np.int64]) -> "UnlabelledImages":
        """Return the images at `indices`, in that order."""
        return UnlabelledImages(images=self.images[indices], rows=self.rows[indices])

    def digest(self) -> str:
        """Return the SHA-256 of pixels and rows, computed once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        sha = hashlib.sha256(repr(self.images.shape).encode())
        for array in (self.images, self.rows):
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()


def from_elsewhere(images: npt.NDArray[np.uint8]) -> UnlabelledImages:
    """Return images (N, C, H, W) that are not of the data set: -1 is the row of the first one, -2 of the second."""
    return UnlabelledImages(images=images, rows=-1 - np.arange(len(images), dtype=np.int64))


@dataclass(frozen=True, kw_only=True)
class UnlabelledSource:
    """Where a study's images without labels come from.

    Attributes:
        name: as it may be published.
        images: all that may be used.
        copies_of_test: images that were left out, since they are test images, pixel by pixel.
        copies_of_train: likewise, labelled images that are trained on.
        notes: what the reader of a report must know about how they were read.
    """

    name: str
    images: UnlabelledImages
    copies_of_test: int = 0
    copies_of_train: int = 0
    notes: tuple[str, ...] = ()


def without_copies(images: UnlabelledImages, of: Sequence[LabelledImages]) -> UnlabelledImages:
    """Return the images that are no image of the others, pixel by pixel."""
    known = {identity for others in of for identity in digests_of(others.images)}
    kept = [place for place, identity in enumerate(digests_of(images.images)) if identity not in known]
    return images.take(np.array(kept, np.int64))


def rest_of_pool(pool: LabelledImages, subset: LabelledImages) -> UnlabelledImages:
    """Return the images of a pool that the subset drawn from it leaves, without their labels."""
    left = np.flatnonzero(~np.isin(pool.rows, subset.rows))
    return UnlabelledImages(images=pool.images[left], rows=pool.rows[left])


def drawn_for_cell(images: UnlabelledImages, *, most: int, subset: LabelledImages) -> UnlabelledImages:
    """Return at most so many of the images, drawn without replacement, in order; the same ones for the same subset."""
    if len(images) <= most:
        return images
    rng = numpy_stream(0, "unlabelled", subset.digest())
    return images.take(np.sort(rng.choice(len(images), most, replace=False)).astype(np.int64))


def with_pseudo_labelled(subset: LabelledImages, pseudo_labelled: LabelledImages | None) -> LabelledImages:
    """Return all that a cell's generator learns from: the subset, and images without labels that were given some."""
    return subset if pseudo_labelled is None else joined(subset, pseudo_labelled)
