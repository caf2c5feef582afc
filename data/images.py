"""`LabelledImages`: the one value that every stage of the way of the data takes or makes."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601), as Pillow converts


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images with class labels and the rows they came from.

    Attributes:
        images: (N, C, H, W) uint8, C = 1 (grayscale) or 3 (RGB).
        labels: (N,) int64 in [0, len(class_names)).
        rows: (N,) int64, each image's row number in its source split.
        class_names: one name per label.
        groups: (N,) int64, equal where images belong together, such as a patient's; -1 belongs to none but its own.
            None: no image belongs to another.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    groups: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be (N, C, H, W) uint8, got {self.images.shape} {self.images.dtype}")
        if len({len(self.images), len(self.labels), len(self.rows)}) != 1:
            raise ValueError("images, labels and rows differ in length")
        if self.groups is not None and len(self.groups) != len(self.images):
            raise ValueError("images and groups differ in length")
        if len(self.labels) and (self.labels.min() < 0 or self.labels.max() >= self.num_classes):
            raise ValueError(f"labels must lie in [0, {self.num_classes})")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def class_counts(self) -> npt.NDArray[np.int64]:
        """Return the number of images of each class, (num_classes,) int64."""
        return np.bincount(self.labels, minlength=self.num_classes).astype(np.int64)

    @property
    def imbalance(self) -> float:
        """Images of the most frequent class over those of the rarest one that has any."""
        counts = self.class_counts()
        return float(counts.max() / counts[counts > 0].min())

    def take(self, indices: npt.NDArray[np.int64]) -> "LabelledImages":
        """Return the images at `indices`, in that order."""
        return LabelledImages(
            images=self.images[indices],
            labels=self.labels[indices],
            rows=self.rows[indices],
            class_names=self.class_names,
            groups=None if self.groups is None else self.groups[indices],
        )

    def digest(self) -> str:
        """Return the SHA-256 of pixels, labels, rows, class names and groups: the set's identity in provenance.

        Computed once: every stage asks for the digests of whole splits, and nobody changes images in place.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        sha = hashlib.sha256(repr((self.images.shape, self.class_names)).encode())
        for array in (self.images, self.labels, self.rows):
            sha.update(array.ravel().data)
        if self.groups is not None:
            sha.update(self.groups.ravel().data)
        return sha.hexdigest()

    @cached_property
    def _identities(self) -> tuple[bytes, ...]:
        return tuple(digests_of(self.images))


def joined(first: LabelledImages, second: LabelledImages) -> LabelledImages:
    """Return the images of both, one after the other; of the same classes, without groups."""
    return LabelledImages(
        images=np.concatenate([first.images, second.images]),
        labels=np.concatenate([first.labels, second.labels]),
        rows=np.concatenate([first.rows, second.rows]),
        class_names=first.class_names,
    )


def identities(images: LabelledImages) -> list[bytes]:
    """Return a digest of each image's pixels: equal where images are equal. Computed once, as the set's digest."""
    return list(images._identities)


def digests_of(images: npt.NDArray[np.uint8]) -> list[bytes]:
    """Return a digest of each of (N, C, H, W) uint8 images: equal where images are equal."""
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
