"""Codes: a latent vector for each training image, learnt together with the generator or made by `gan.encoder`.

A GAN with few images leaves most of what they show out of its samples. Here the generator must also be able to make
each training image from that image's code, a free vector that is trained by the same gradient (generative latent
optimisation: Bojanowski et al. 2018, arXiv 1707.05776, section 2.2). Samples are then made from latent vectors
between two codes of the same class (`SamplePlaces`), so that they lie between the images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

MOMENTUM, SQUARE_MOMENTUM = 0.5, 0.9
TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class SamplePlaces:
    """Where between two codes samples are made.

    Attributes:
        reach: how far from their middle, at most: 0 is the middle, 1 as far as the codes.
        spread: noise about that place, in sizes of the code there.
    """

    reach: float
    spread: float


class ImageCodes(nn.Module):
    """The codes of a subset's images, and latent vectors between them.

    Args:
        labels: (N,) int64, of the images.

    Attributes:
        vectors: (N, latent_dim) float32, in the order of the images; free vectors begin as noise (`gan.architecture`).
    """

    vectors: Tensor
    labels: Tensor

    def __init__(self, labels: Tensor, *, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(len(labels), latent_dim))
        self.register_buffer("labels", labels.clone())

    def between(self, noise: Tensor, labels: Tensor, *, places: SamplePlaces) -> Tensor:
        """Map noise (B, latent_dim) from N(0, I) and labels (B,) int64 to latent vectors: see `latents_between`."""
        return latents_between(self.vectors, self.labels, noise, labels, places=places)


def latents_between(codes: Tensor, classes: Tensor, noise: Tensor, labels: Tensor, *, places: SamplePlaces) -> Tensor:
    """Map noise (B, latent_dim) from N(0, I) and labels (B,) int64 to latent vectors (B, latent_dim).

    Two different codes of the class, and a place between them, are chosen by the noise itself, its first, last and
    second number, so that a sample depends on nothing but its noise and label (these numbers of `latent_dim` are bound
    by the choice); the noise is added there. Classes of one image have that code alone, classes of none the noise as
    it is.

    Args:
        codes: (N, latent_dim), of images of the `classes` (N,) int64.
    """
    by_class = classes.argsort(stable=True)
    start = torch.searchsorted(classes[by_class], labels)  # (B,)
    count = torch.searchsorted(classes[by_class], labels, right=True) - start  # (B,)
    chosen = torch.stack([noise[:, 0], noise[:, -1], noise[:, min(1, noise.shape[1] - 1)]], dim=1)
    even = torch.special.ndtr(chosen.double())  # (B, 3), from U(0, 1)
    first = (even[:, 0] * count).long()
    step = 1 + (even[:, 1] * (count - 1).clamp(min=0)).long()
    second = (first + step) % count.clamp(min=1)
    last = len(by_class) - 1
    one, other = (codes[by_class[(start + rank).clamp(max=last)]] for rank in (first, second))
    share = 0.5 + places.reach * (even[:, 2:].to(codes.dtype) - 0.5)  # (B, 1)
    # As large as N(0, I), where codes are independent.
    blended = (share * one + (1 - share) * other) / (share.square() + (1 - share).square()).sqrt()
    blended = torch.where((count > 1)[:, None], blended, one)
    blended = (blended + places.spread * noise) / (1 + places.spread**2) ** 0.5
    return torch.where((count > 0)[:, None], blended, noise)


class CodeOptimizer(nn.Module):
    """Adam (Kingma & Ba 2015, arXiv 1412.6980) for the codes of the images in a batch; the others stay as they are.

    One step size for all numbers of a code, without correction of the moments' start at 0. A module, so that a
    checkpoint keeps its moments.
    """

    momentum: Tensor
    square: Tensor

    def __init__(self, codes: ImageCodes, *, learning_rate: float) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.register_buffer("momentum", torch.zeros_like(codes.vectors))
        self.register_buffer("square", torch.zeros(len(codes.vectors), 1))

    @torch.no_grad()
    def step(self, codes: ImageCodes, rows: Tensor, gradient: Tensor) -> None:
        """Move the codes of `rows` (B,) int64 against `gradient` (B, latent_dim), inside the sphere where noise lies.

        A row that comes twice is moved once, by the sum of its gradients.
        """
        gradient = (rows[:, None] == rows).to(gradient.dtype) @ gradient
        momentum = self.momentum[rows].lerp(gradient, 1 - MOMENTUM)
        square = self.square[rows].lerp(gradient.square().mean(1, keepdim=True), 1 - SQUARE_MOMENTUM)
        moved = codes.vectors[rows] - self.learning_rate * momentum / (square.sqrt() + TINY)
        radius = codes.vectors.shape[1] ** 0.5
        codes.vectors[rows] = moved * (radius / moved.norm(dim=1, keepdim=True).clamp(min=TINY)).clamp(max=1)
        self.momentum[rows], self.square[rows] = momentum, square
