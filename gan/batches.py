"""Which images of the subset the batches of a training hold: by the step alone, so that a resumed one sees the same."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.base.randomness import child_seed, torch_stream


@dataclass
class EndlessEpochs:
    """An endless row of seeded permutations of positions, of which each batch cuts a piece.

    So every image is seen once per epoch, whatever the batch size.

    Attributes:
        positions: (N,) int64.
    """

    positions: Tensor
    seed: int
    _recent: dict[int, Tensor] = field(default_factory=dict)

    def cut(self, first: int, count: int) -> Tensor:
        """Return `count` positions of the row from place `first` on, (count,) int64."""
        size = len(self.positions)
        epochs = range(first // size, (first + count - 1) // size + 1)
        self._recent = {epoch: self._recent[epoch] for epoch in epochs if epoch in self._recent}
        return torch.cat(
            [self._epoch(epoch)[max(0, first - epoch * size) : first + count - epoch * size] for epoch in epochs]
        )

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._recent:
            order = torch.randperm(len(self.positions), generator=torch_stream(self.seed, "gan epoch", epoch))
            self._recent[epoch] = self.positions[order]
        return self._recent[epoch]


class Batches:
    """The subset positions of each step's batch: plain epochs, or the classes in turn.

    Args:
        labels: (N,) int64, of the subset; classes without images are passed over.
        class_balanced: every class comes as often; within a class its images come in epochs.
    """

    def __init__(self, labels: npt.NDArray[np.int64], *, batch_size: int, seed: int, class_balanced: bool) -> None:
        self.batch_size = batch_size
        if class_balanced:
            self.rows = [
                EndlessEpochs(torch.from_numpy(np.flatnonzero(labels == label)), child_seed(seed, "class", int(label)))
                for label in np.unique(labels)
            ]
        else:
            self.rows = [EndlessEpochs(torch.arange(len(labels)), seed)]

    def of_step(self, step: int) -> Tensor:
        """Return the positions of the batch of `step` (the first is 0), (batch_size,) int64."""
        first, num_rows = step * self.batch_size, len(self.rows)
        batch = torch.empty(self.batch_size, dtype=torch.int64)
        for place, row in enumerate(self.rows):
            offset = (place - first) % num_rows  # of this row's first turn in the batch
            count = len(range(offset, self.batch_size, num_rows))
            if count:
                batch[offset::num_rows] = row.cut((first + offset) // num_rows, count)
        return batch
