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
    """Images of which batches draw with replacement; `even` draws them evenly by class.

    Attributes:
        images: (N, C, H, W) float32 in [-1, 1].
        labels: (N,) int64.
    """

    images: Tensor
    labels: Tensor
    even: EvenClasses | None

    @classmethod
    def of(cls, part: LabelledImages, *, balance: Balance) -> "Pool":
        """Make a pool of `part`."""
        return cls(
            images=to_unit_range(part.images),
            labels=torch.from_numpy(part.labels),
            even=EvenClasses.of(part.labels) if balance == "batches" else None,
        )

    def draw(self, count: int, *, turn: int, rng: torch.Generator) -> Tensor:
        """Draw `count` positions, (count,) int64; `turn` is how many have been drawn before."""
        if self.even is not None:
            return self.even.draw(count, turn=turn, rng=rng)
        return torch.randint(len(self.labels), (count,), generator=rng)


def added_counts(num_batches: int, *, batch_size: int, shares: tuple[float, float]) -> list[int]:
    """Return how many images of each batch are added ones.

    Args:
        shares: of the first and of the last batch; in between they lie on a line. Fractions of an image are carried
            over to the next batch, so that the sum over any run of batches is right to one image.
    """
    wanted = batch_size * np.linspace(*shares, num_batches)
    reached = np.floor(np.cumsum(wanted) + 1e-6).astype(int)  # the sum of many fractions falls a hair short
    return [int(count) for count in np.diff(reached, prepend=0)]
