"""The two players: a convolutional generator and a convolutional discriminator, both conditioned on the class.

The generator (exercise 1 of the chapter) turns a latent noise vector into an image; the discriminator
(exercise 2) is a binary classifier, real against fake. Both follow DCGAN (Radford et al. 2016,
arXiv 1511.06434): strided convolutions, batch normalisation, ReLU / leaky ReLU, tanh output. The class enters
the generator as a learnt embedding beside the noise (Mirza & Osindero 2014, arXiv 1411.1784, section 3.2), and
the discriminator by projection (Miyato & Koyama 2018, arXiv 1802.05637, equation 3).
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan.config import GanConfig


class Generator(nn.Module):
    """Latent noise and class to image: two stride-2 transposed convolutions above a linear projection.

    Args:
        image_shape: (C, H, W) to generate; H and W are multiples of 4.
    """

    def __init__(self, config: GanConfig, *, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.image_shape = image_shape
        fine = config.generator_width
        coarse = 2 * fine
        self.coarse_shape = (coarse, height // 4, width // 4)
        self.latent_dim = config.latent_dim
        self.class_embedding = nn.Embedding(num_classes, config.latent_dim)
        self.project = nn.Linear(2 * config.latent_dim, coarse * (height // 4) * (width // 4), bias=False)
        self.norm1 = nn.BatchNorm2d(coarse)
        self.up1 = nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(fine)
        self.up2 = nn.ConvTranspose2d(fine, channels, 4, stride=2, padding=1)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Map latent (B, latent_dim) and labels (B,) int64 to images (B, C, H, W) in [-1, 1]."""
        conditioned = torch.cat([latent, self.class_embedding(labels)], dim=1)  # (B, 2 * latent_dim)
        features = self.project(conditioned).view(-1, *self.coarse_shape)  # (B, 2w, H/4, W/4)
        features = self.norm1(features).relu()
        features = self.norm2(self.up1(features)).relu()  # (B, w, H/2, W/2)
        images: Tensor = self.up2(features).tanh()  # (B, C, H, W)
        return images


class Discriminator(nn.Module):
    """Image and class to the logit of being real: two stride-2 convolutions, flattened, plus projection."""

    def __init__(self, config: GanConfig, *, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        fine = config.discriminator_width
        coarse = 2 * fine
        num_features = coarse * (height // 4) * (width // 4)

        def layer(module: nn.Module) -> nn.Module:
            return spectral_norm(module) if config.discriminator_norm == "spectral" else module

        batch_norm = config.discriminator_norm == "batch"
        self.features = nn.Sequential(
            layer(nn.Conv2d(channels, fine, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            layer(nn.Conv2d(fine, coarse, 4, stride=2, padding=1, bias=not batch_norm)),
            nn.BatchNorm2d(coarse) if batch_norm else nn.Identity(),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        self.linear = layer(nn.Linear(num_features, 1))
        self.class_projection = layer(nn.Embedding(num_classes, num_features))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] and labels (B,) int64 to logits (B,); sigmoid gives P(real)."""
        features = self.features(images)  # (B, F)
        logits: Tensor = self.linear(features).squeeze(1) + (features * self.class_projection(labels)).sum(1)
        return logits


def initialise(network: nn.Module, *, config: GanConfig, rng: torch.Generator) -> None:
    """Draw the initial weights from `rng`, so that they depend on nothing else.

    `dcgan`: every weight of a convolution, linear layer or projection from N(0, 0.02), batch normalisation
    scales from N(1, 0.02), biases 0 (Radford et al. 2016, section 4). `default`: Kaiming-uniform weights as
    PyTorch's layers have them.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if config.initialisation == "dcgan":
                nn.init.normal_(module.weight, 0.0, 0.02, generator=rng)
            else:
                nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=rng)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02 if config.initialisation == "dcgan" else 0.0, generator=rng)
            nn.init.zeros_(module.bias)
    if isinstance(network, Generator):
        nn.init.normal_(network.class_embedding.weight, generator=rng)  # as large as the noise beside it
    if isinstance(network, Discriminator):
        for weight in network.class_projection.parameters():
            nn.init.normal_(weight, 0.0, 0.02, generator=rng)
