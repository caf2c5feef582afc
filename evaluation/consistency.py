"""Consistency training in the manner of FixMatch (Sohn et al. 2020, arXiv 2001.07685): images without labels.

The network labels a weak view of an image; where it is sure, it must give that label to a strong view, too (equation
4). Both are views of the cell's policy of classical augmentation, with less and more of its ranges; strong ones also
lack a square (Cutout: DeVries & Taylor 2017, arXiv 1708.04552). So whatever augmentation a study chooses, this has it.

Batch normalisation is what a network answers by, too, and classes are seldom as frequent among images without labels as
among labelled ones. A batch of theirs, normalised by itself, looks as if they were: of three quarters of a class, the
network calls a quarter something else, and learns it. Hence labels are given as in prediction, by the statistics kept,
and only labelled images are kept in them; the strong views have theirs for themselves (benchmarks/TRIALS.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.base.device import Compute
from data.config import DeformationConfig, ToneConfig
from data.policies import SHIFTED_AND_TONED, Policy, Views
from data.tensors import to_unit_range
from evaluation.config import ClassifierConfig, ConsistencyConfig
from evaluation.training_set import TrainingSet

NORMALISATIONS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip
NUM_DRAWN = 4  # tensors that `UnlabelledBatches.draw` returns


class UnlabelledBatches:
    """The images without labels in training: on their device, drawn in batches, in weak and strong views.

    Raises:
        ValueError: the training set has no images without labels.
    """

    def __init__(self, training: TrainingSet, classifier: ClassifierConfig, *, compute: Compute) -> None:
        if training.consistency is None:
            raise ValueError("consistency needs images without labels")
        self._config = training.consistency.config
        self._pixels = training.consistency.images.images
        self._images = to_unit_range(self._pixels).to(compute.device)  # (N, C, H, W)
        self._weak, self._strong = weak_and_strong(training.policy, self._config)
        self.size = classifier.batch_size * self._config.ratio

    def draw(self, rng: torch.Generator) -> list[Tensor]:
        """Draw all that is random in a batch, on the CPU: its rows, both views, the middles of the squares."""
        rows = torch.randint(len(self._images), (self.size,), generator=rng)
        pixels = self._pixels[rows.numpy()]
        weak = torch.zeros(self.size, 0) if self._weak is None else self._weak.draw(pixels, rng)
        return [rows, weak, self._strong.draw(pixels, rng), torch.rand(self.size, 2, generator=rng)]

    def views(self, rows: Tensor, weak: Tensor, strong: Tensor, middles: Tensor) -> tuple[Tensor, Tensor]:
        """Return weak and strong views of `draw`'s batch, both (U, C, H, W)."""
        batch = self._images[rows]
        strongly = without_squares(self._strong.apply(batch, strong), middles, side=self._config.cutout)
        return batch if self._weak is None else self._weak.apply(batch, weak), strongly

    def targets(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's own labels (U,) int64 of weak views, and which are believed (U,) float.

        Args:
            logits: (U, num_classes) float, of the weak views.
        """
        confidence, labels = logits.softmax(1).max(1)
        return labels, (confidence >= self._config.threshold).float()

    def loss(self, logits: Tensor, labels: Tensor, believed: Tensor) -> Tensor:
        """Return equation 4's loss, weighted, a scalar: of the strong views' logits (U, num_classes)."""
        losses = F.cross_entropy(logits, labels, reduction="none")  # (U,)
        return self._config.weight * (losses * believed).mean()


@contextmanager
def statistics_apart(network: nn.Module) -> Iterator[None]:
    """Let what normalises by kept statistics go by the batch alone where it is in training, and keep nothing of it.

    What is frozen stays as it is, and so do layers of somebody else's that keep statistics by code of their own.
    """
    keeping = [
        module
        for module in network.modules()
        if isinstance(module, NORMALISATIONS)
        and module.training
        and module.track_running_stats
        and not isinstance(module, torch.jit.ScriptModule)
    ]
    kept = [(module, module.running_mean, module.running_var) for module in keeping]
    for module in keeping:
        module.track_running_stats, module.running_mean, module.running_var = False, None, None
    try:
        yield
    finally:
        for module, mean, variance in kept:
            module.track_running_stats, module.running_mean, module.running_var = True, mean, variance


def operations_factor(config: ConsistencyConfig) -> float:
    """Return how many times as many operations the training takes as one of the labelled images alone.

    A strong view is learnt from like a labelled image, a weak one only looked at: a third of that.
    """
    return config.longer * (1 + config.ratio * (1 + 1 / 3))


def weak_and_strong(policy: Policy | None, config: ConsistencyConfig) -> tuple[Policy | None, Policy]:
    """Return what weak and strong views are made by.

    Policies that have no ranges, of the user's own or torchvision's, make the strong ones as they are, from weak ones
    that are the images themselves. Where there is no policy, DiffAugment's shifts and changes of tone stand in for one.
    """
    if isinstance(policy, Views):
        return scaled(policy, config.weak), scaled(policy, config.strong)
    return None, SHIFTED_AND_TONED if policy is None else policy


def scaled(views: Views, factor: float) -> Views:
    """Return views within `factor` times the ranges, as far as ranges may go; mirror images come as often."""
    fields, tones = views.deformation, views.tones
    deformation = DeformationConfig(
        rotation_degrees=min(180.0, factor * fields.rotation_degrees),
        translation=min(0.5, factor * fields.translation),
        scale=min(0.99, factor * fields.scale),
        shear=min(0.99, factor * fields.shear),
        elastic=min(0.5, factor * fields.elastic),
        elastic_grid=fields.elastic_grid,
    )
    if tones is not None:
        ranges = {name: min(1.0, factor * float(value)) for name, value in tones.model_dump().items()}
        tones = ToneConfig(**ranges)
    return replace(views, deformation=deformation, tones=tones)


def without_squares(images: Tensor, middles: Tensor, *, side: float) -> Tensor:
    """Fill a square of each image (B, C, H, W) with the image's mean value.

    Args:
        middles: (B, 2) in [0, 1), of the squares, which may reach beyond the image.
        side: of the squares, as a share of the image's sides.
    """
    inside = []
    for axis, length in enumerate(images.shape[2:]):
        places = (torch.arange(length, device=images.device) + 0.5) / length  # (length,)
        inside.append((places - middles[:, axis : axis + 1]).abs() < side / 2)  # (B, length)
    squares = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]  # (B, 1, H, W)
    return torch.where(squares, images.mean((2, 3), keepdim=True), images)
