"""Codes: a latent vector for every training image, learnt together with the generator.

A GAN with few images leaves most of what they show out of its samples. Here the generator must also be able to make
each training image from that image's code, a free vector that is trained by the same gradient (generative latent
optimisation: Bojanowski et al. 2018, arXiv 1707.05776, section 2.2). Samples are then made from latent vectors around
the middle of two codes of the same class, never from a code itself, so that they lie between the images.
"""

import torch
from torch import Tensor, nn

MOMENTUM, SQUARE_MOMENTUM = 0.5, 0.9
TINY = 1e-12


class ImageCodes(nn.Module):
    """The codes of a subset's images, and latent vectors between them.

    Args:
        labels: (N,) int64, of the subset.

    Attributes:
        vectors: (N, latent_dim) float32, in the order of the subset; latent noise at first (`gan.networks.initialise`).
    """

    vectors: Tensor
    labels: Tensor
    by_class: Tensor  # (N,) int64: positions in the subset, class after class
    counts: Tensor  # (K,) int64: images of each class

    def __init__(self, labels: Tensor, *, num_classes: int, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(len(labels), latent_dim))
        self.register_buffer("labels", labels.clone())
        self.register_buffer("by_class", labels.argsort(stable=True), persistent=False)
        self.register_buffer("counts", torch.bincount(labels, minlength=num_classes), persistent=False)

    def between(self, noise: Tensor, labels: Tensor, *, spread: float) -> Tensor:
        """Map noise (B, latent_dim) from N(0, I) and labels (B,) int64 to latent vectors (B, latent_dim).

        Two different codes of the class are chosen by the noise itself, its first and last number, so that a sample
        depends on nothing but its noise and label (two numbers in `latent_dim` are bound by the choice); the noise is
        added to their middle, `spread` times as large as that. Classes of one image have that code alone, classes of
        none the noise as it is.
        """
        counts, starts = self.counts[labels], (self.counts.cumsum(0) - self.counts)[labels]  # (B,), (B,)
        even = torch.special.ndtr(noise[:, [0, -1]].double())  # (B, 2), from U(0, 1)
        first = (even[:, 0] * counts).long()
        step = 1 + (even[:, 1] * (counts - 1).clamp(min=0)).long()
        second = (first + step) % counts.clamp(min=1)
        last = len(self.by_class) - 1
        one, other = (self.vectors[self.by_class[(starts + place).clamp(max=last)]] for place in (first, second))
        middle = torch.where((counts > 1)[:, None], (one + other) / 2**0.5, one)
        blended = (middle + spread * noise) / (1 + spread**2) ** 0.5  # as large as N(0, I), where codes are independent
        return torch.where((counts > 0)[:, None], blended, noise)


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
