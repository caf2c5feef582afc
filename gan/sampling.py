"""Drawing labelled samples from a trained generator, so that they come out the same however they are made."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.base.device import Compute
from data.base.errors import UsageError
from data.tensors import to_pixels
from gan.networks import GeneratorEnsemble

SAMPLE_BATCH = 1024
MAX_ROUNDS = 100  # of drawing again what a confidence filter rejects

Counts = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


@torch.no_grad()
def generate(generator: GeneratorEnsemble, noise: Tensor, labels: Tensor, *, compute: Compute) -> Tensor:
    """Map noise (N, latent_dim) and labels (N,) to images (N, C, H, W) float32 in [-1, 1] on the CPU, in batches.

    The generator is in evaluation mode, so an image depends on its own noise and label only.
    """
    parts = []
    for start in range(0, len(noise), SAMPLE_BATCH):
        part = slice(start, start + SAMPLE_BATCH)
        with compute.autocast():
            images = generator(noise[part].to(compute.device), labels[part].to(compute.device))
        parts.append(images.float().cpu())
    return torch.cat(parts)


def draw_images(
    generator: GeneratorEnsemble, labels: npt.NDArray[np.int64], *, rng: torch.Generator, compute: Compute
) -> Pixels:
    """Draw one image per label, (N, C, H, W) uint8; only one batch of floats is in memory at a time."""
    images = np.empty((len(labels), *generator.image_shape), np.uint8)
    noise = torch.randn(len(labels), generator.latent_dim, generator=rng)  # (N, latent_dim)
    classes = torch.from_numpy(labels)
    for start in range(0, len(labels), SAMPLE_BATCH):
        part = slice(start, start + SAMPLE_BATCH)
        images[part] = to_pixels(generate(generator, noise[part], classes[part], compute=compute))
    return images


@dataclass(frozen=True, kw_only=True)
class ConfidenceFilter:
    """Keeps the samples that a classifier recognises as what they were meant to be.

    Attributes:
        predict_probabilities: maps (N, C, H, W) uint8 images to (N, num_classes) float32; called from several threads.
        minimum: least probability of the sample's own class; 0 keeps all samples and records the probability.
        identity: digest of the classifier, for provenance.
    """

    predict_probabilities: Callable[[Pixels], npt.NDArray[np.float32]]
    minimum: float
    identity: str


class FilterTooStrictError(UsageError):
    """A confidence filter that accepts next to nothing."""


def draw_confident_images(
    generator: GeneratorEnsemble,
    labels: npt.NDArray[np.int64],
    confidence: ConfidenceFilter,
    *,
    rng: torch.Generator,
    compute: Compute,
) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """Draw one image per label (N,) int64, again and again where the filter rejects it.

    Returns:
        images (N, C, H, W) uint8, and the filter's probability (N,) float32 of each one's class.

    Raises:
        FilterTooStrictError: a sample was rejected 100 times.
    """
    images = np.empty((len(labels), *generator.image_shape), np.uint8)
    probabilities = np.zeros(len(labels), np.float32)
    pending = np.arange(len(labels))
    for _ in range(MAX_ROUNDS):
        drawn = draw_images(generator, labels[pending], rng=rng, compute=compute)
        of_own_class = confidence.predict_probabilities(drawn)[np.arange(len(pending)), labels[pending]]
        accepted = of_own_class >= confidence.minimum
        images[pending[accepted]] = drawn[accepted]
        probabilities[pending[accepted]] = of_own_class[accepted]
        pending = pending[~accepted]
        if not len(pending):
            return images, probabilities
    raise FilterTooStrictError(
        f"{len(pending)} samples (such as of class {labels[pending[0]]}) stay below confidence "
        f"{confidence.minimum:g} in {MAX_ROUNDS} draws; lower the confidence"
    )


def apportion(num_images: int, weights: Counts) -> Counts:
    """Share `num_images` out in proportion to `weights`, by largest remainder; returns counts that add up to it."""
    exact = num_images * weights / weights.sum()
    counts: Counts = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(counts - exact, kind="stable")
    counts[by_remainder[: num_images - counts.sum()]] += 1
    return counts


def class_sequence(counts: Counts) -> npt.NDArray[np.int64]:
    """Return the labels (N,) of all samples in order: classes interleaved evenly, every stretch has their shares.

    Args:
        counts: (num_classes,) int64, of each class.
    """
    labels: npt.NDArray[np.int64] = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    rank = np.concatenate([(np.arange(count) + 0.5) / count for count in counts if count])
    ordered: npt.NDArray[np.int64] = labels[np.lexsort((labels, rank))]
    return ordered
