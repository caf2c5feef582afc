"""Which images the batches of a classifier's training hold."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.images import LabelledImages
from evaluation.training_set import Balance, TrainingSet


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
    """Images of which batches draw with replacement; `even` draws them evenly by class."""

    size: int
    even: EvenClasses | None

    @classmethod
    def of(cls, part: LabelledImages, *, balance: Balance) -> "Pool":
        """Make a pool of `part`."""
        return cls(size=len(part), even=EvenClasses.of(part.labels) if balance == "batches" else None)

    def draw(self, count: int, *, turn: int, rng: torch.Generator) -> Tensor:
        """Draw `count` positions, (count,) int64; `turn` is how many have been drawn before."""
        if self.even is not None:
            return self.even.draw(count, turn=turn, rng=rng)
        return torch.randint(self.size, (count,), generator=rng)


def batch_rows(
    training: TrainingSet,
    *,
    num_batches: int,
    batch_size: int,
    added_shares: tuple[float, float],
    rng: torch.Generator,
) -> Iterator[Tensor]:
    """Yield the positions of each batch in the base and, after them, the added images: (batch_size,) int64."""
    base, num_base = Pool.of(training.base, balance=training.balance), len(training.base)
    added, num_added = None, [0] * num_batches
    if training.added is not None:
        added = Pool.of(training.added, balance=training.balance)
        num_added = added_counts(num_batches, batch_size=batch_size, shares=added_shares)
    base_turn = added_turn = 0
    for count in num_added:
        rows = base.draw(batch_size - count, turn=base_turn, rng=rng)
        base_turn += batch_size - count
        if added is not None:
            rows = torch.cat([rows, num_base + added.draw(count, turn=added_turn, rng=rng)])
            added_turn += count
        yield rows


def added_counts(num_batches: int, *, batch_size: int, shares: tuple[float, float]) -> list[int]:
    """Return how many images of each batch are added ones.

    Args:
        shares: of the first and of the last batch; in between they lie on a line. Fractions of an image are carried
            over to the next batch, so that the sum over any run of batches is right to one image.
    """
    wanted = batch_size * np.linspace(*shares, num_batches)
    reached = np.floor(np.cumsum(wanted) + 1e-6).astype(int)  # the sum of many fractions falls a hair short
    return [int(count) for count in np.diff(reached, prepend=0)]
