"""Drawing labelled samples from a trained generator, in shards that come out the same however they are made."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.device import Compute
from data.images import to_pixels
from data.randomness import torch_stream
from gan.networks import Generator

SAMPLE_BATCH = 256


@torch.no_grad()
def generate(generator: Generator, latent: Tensor, labels: Tensor, *, compute: Compute) -> Tensor:
    """Map latent (N, latent_dim) and labels (N,) to images (N, C, H, W) float32 in [-1, 1] on the CPU, in batches.

    The generator is in evaluation mode, so an image depends on its own latent and label only.
    """
    parts = []
    for start in range(0, len(latent), SAMPLE_BATCH):
        part = slice(start, start + SAMPLE_BATCH)
        with compute.autocast():
            images = generator(latent[part].to(compute.device), labels[part].to(compute.device))
        parts.append(images.float().cpu())
    return torch.cat(parts)


@dataclass(frozen=True, kw_only=True)
class SampleShard:
    """Consecutive samples: `images` (n, C, H, W) uint8, `labels` (n,) int64, `first_index` of the whole set."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    first_index: int


def balanced_labels(first: int, count: int, *, num_classes: int) -> npt.NDArray[np.int64]:
    """Return the labels of samples `first` .. `first + count`: classes take turns, so every prefix is balanced."""
    return np.arange(first, first + count, dtype=np.int64) % num_classes


def sample_shards(
    generator: Generator, *, num_images: int, shard_size: int, num_classes: int, seed: int, compute: Compute
) -> Iterator[SampleShard]:
    """Yield `num_images` class-balanced samples in shards, each drawn from a random stream of its own."""
    generator.to(compute.device).eval()
    for shard, first in enumerate(range(0, num_images, shard_size)):
        count = min(shard_size, num_images - first)
        labels = balanced_labels(first, count, num_classes=num_classes)
        latent = torch.randn(count, generator.latent_dim, generator=torch_stream(seed, "latent", shard))
        images = generate(generator, latent, torch.from_numpy(labels), compute=compute)
        yield SampleShard(images=to_pixels(images), labels=labels, first_index=first)
