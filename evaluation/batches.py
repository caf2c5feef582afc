"""Which images the batches of a classifier's training hold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.images import LabelledImages, to_unit_range
from evaluation.arms import Balance


@dataclass(frozen=True, kw_only=True)
class EvenClasses:
    """Positions of images by class: class c has `order[first[c] : first[c] + size[c]]`; absent classes are left out."""

    order: Tensor
    first: Tensor
    size: Tensor

    @classmethod
    def of(cls, labels: npt.NDArray[np.int64]) -> "EvenClasses":
        """Sort the positions of `labels` (N,) by class."""
        _, first, size = np.unique(np.sort(labels), return_index=True, return_counts=True)
        order = np.argsort(labels, kind="stable")
        return cls(order=torch.from_numpy(order), first=torch.from_numpy(first), size=torch.from_numpy(size))

    def draw(self, count: int, *, turn: int, rng: torch.Generator) -> Tensor:
        """Draw `count` positions, (count,) int64: classes in turn, with replacement within a class.

        Args:
            turn: how many have been drawn before, so that the classes come evenly over batches of any size.
        """
        classes = (turn + torch.arange(count)) % len(self.size)
        place = (torch.rand(count, generator=rng, dtype=torch.float64) * self.size[classes]).long()
        return self.order[self.first[classes] + place]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Images of which every batch draws `count`, with replacement; `even` draws them evenly by class.

    Attributes:
        images: (N, C, H, W) float32 in [-1, 1].
        labels: (N,) int64.
    """

    images: Tensor
    labels: Tensor
    count: int
    even: EvenClasses | None

    @classmethod
    def of(cls, part: LabelledImages, count: int, *, balance: Balance) -> "Pool":
        """Make a pool of `part`."""
        return cls(
            images=to_unit_range(part.images),
            labels=torch.from_numpy(part.labels),
            count=count,
            even=EvenClasses.of(part.labels) if balance == "batches" else None,
        )

    def draw(self, step: int, *, rng: torch.Generator) -> Tensor:
        """Draw the positions of the batch of `step` (the first is 1), (count,) int64."""
        if self.even is not None:
            return self.even.draw(self.count, turn=(step - 1) * self.count, rng=rng)
        return torch.randint(len(self.labels), (self.count,), generator=rng)
