"""Adversarial losses by name, and the gradient penalties that go with them.

In the chapter's notation D(x) is the probability of being real, so D = sigmoid(logits). The losses below take
logits, because log(sigmoid(l)) = -softplus(-l) is exact where log(D) is not. Each returns one value per sample,
(B,), to be minimised; the caller takes the mean.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gan.config import LossName


class AdversarialLoss(Protocol):
    """The two players' costs as functions of the discriminator's logits, all (B,)."""

    needs_real_logits: bool  # whether the generator's cost depends on real images too

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor: ...

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor: ...


class Minimax:
    """The zero-sum game of Goodfellow et al. 2014 (arXiv 1406.2661), equation 1; the chapter's equations 7.1 to 7.4."""

    needs_real_logits = False

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """J(D), equation 7.1: binary cross-entropy, label 1 for real and 0 for fake images.

        -1/2 [log D(x) + log(1 - D(G(z)))]: half of the N inputs are real, half generated, so the mean over the
        B = N/2 pairs is the chapter's mean over N. In expectation its negative is half of equation 7.2.
        (The chapter prints "1 - log D(G(z))" in 7.2 to 7.4; the standard form log(1 - D(G(z))) is meant.)
        """
        real = F.binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits), reduction="none")
        fake = F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits), reduction="none")
        return (real + fake) / 2

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """J(G), equation 7.3: log(1 - D(G(z))), the only term of the game's value (7.4) that G can change."""
        return F.logsigmoid(-fake_logits)


class NonSaturating(Minimax):
    """The discriminator of `Minimax`; the generator minimises -log D(G(z)) (Goodfellow et al. 2014, section 3)."""

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-log D(G(z)): the same fixed point as minimax, with strong gradients early in learning."""
        return -F.logsigmoid(fake_logits)


class Hinge:
    """Hinge loss (Lim & Ye 2017, arXiv 1705.02894; Miyato et al. 2018, arXiv 1802.05957, equations 16 and 17)."""

    needs_real_logits = False

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return F.relu(1 - real_logits) + F.relu(1 + fake_logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return -fake_logits


class Relativistic:
    """Relativistic pairing (Jolicoeur-Martineau 2018, arXiv 1807.00734; with R1 and R2: R3GAN, arXiv 2501.05441)."""

    needs_real_logits = True

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return F.softplus(fake_logits - real_logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return F.softplus(real_logits - fake_logits)


LOSSES: dict[LossName, AdversarialLoss] = {
    "minimax": Minimax(),
    "non_saturating": NonSaturating(),
    "hinge": Hinge(),
    "relativistic": Relativistic(),
}


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Squared gradient norm of D at each image, (B,): R1 on real, R2 on fake images (Mescheder et al. 2018,
    arXiv 1801.04406, equation 9). The caller multiplies by gamma / 2; `images` must require gradients."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def reconstruction_error(fake_images: Tensor, real_images: Tensor) -> Tensor:
    """Mean squared difference of images (B, C, H, W) in [-1, 1], at full, half and quarter size added up: (B,).

    The smaller sizes tell where a shape is wrong while strokes do not meet yet, as the Laplacian pyramid of
    Bojanowski et al. 2018 (arXiv 1707.05776, equation 4) does.
    """
    error = (fake_images - real_images).square().flatten(1).mean(1)
    for _ in range(2):
        fake_images, real_images = F.avg_pool2d(fake_images, 2), F.avg_pool2d(real_images, 2)
        error = error + (fake_images - real_images).square().flatten(1).mean(1)
    return error


def same_class_distance(images: Tensor, labels: Tensor) -> Tensor:
    """Mean absolute pixel difference of neighbouring images of the same class, a scalar; 0 where no two share one."""
    order = labels.argsort(stable=True)
    first, second = order[:-1], order[1:]
    same = labels[first] == labels[second]
    distances = (images[first] - images[second]).abs().flatten(1).mean(1)  # (B - 1,)
    return (distances * same).sum() / same.sum().clamp(min=1)


def lost_diversity(real_images: Tensor, fake_images: Tensor, labels: Tensor) -> Tensor:
    """Square of the share of the real images' within-class distance that the fake ones lack, a scalar in [0, 1].

    A class-conditional generator with few images tends to ignore its noise, and a discriminator that sees deformed
    images cannot tell. As in mode-seeking GANs (Mao et al. 2019, arXiv 1903.05628, equation 3) the distance between
    samples is rewarded, here only until it is that of real images.
    """
    real, fake = same_class_distance(real_images, labels), same_class_distance(fake_images, labels)
    return F.relu(1 - fake / real.clamp(min=1e-6)).square()
