"""The second architecture, for 32 to 96 pixels and colour: residual networks without normalisation.

They follow R3GAN (Huang et al. 2024, arXiv 2501.05441, section 4), made smaller for trainings of minutes: one residual
branch of two convolutions at each resolution, leaky ReLU, bilinear resampling, and weights after Fixup (Zhang et al.
2019, arXiv 1901.09321), by which each branch gives nothing at first, so that depth needs no normalisation. The class
enters as it does in the DCGAN of `gan.networks`: an embedding beside the noise, and a projection.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.codes import ImageCodes
from gan.config import GanConfig
from gan.networks import ConditionalGenerator, check_image_shape, projected_logits

SLOPE = 0.2  # of leaky ReLU
GAIN = (
    2 / (1 + SLOPE**2)
) ** 0.5  # which keeps the variance through it (He et al. 2015, arXiv 1502.01852, equation 15)
SMALLEST_SIDE = 4  # of the coarsest features
CLASS_EMBEDDING_STD = 0.5  # beside the noise's 1; with less, classes are told apart late (benchmarks/TRIALS.md)
MOST_WIDTHS = 8  # channels at the coarsest resolutions, in widths of the finest


class ResidualBlock(nn.Module):
    """x + f(x), f two 3x3 convolutions before which a leaky ReLU acts. Maps (B, w, H, W) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        inner = self.first(F.leaky_relu(features, SLOPE))
        outputs: Tensor = features + self.second(F.leaky_relu(inner, SLOPE))
        return outputs


def widths_by_level(image_shape: tuple[int, int, int], width: int) -> list[int]:
    """Return the channels at full size, at half, ... down to where a side no longer halves to 4 or more pixels."""
    _, height, width_in_pixels = image_shape
    levels = 0
    while min(height, width_in_pixels) >= 2 * SMALLEST_SIDE and not (height % 2 or width_in_pixels % 2):
        height, width_in_pixels, levels = height // 2, width_in_pixels // 2, levels + 1
    return [width * min(2**level, MOST_WIDTHS) for level in range(levels + 1)]


class ResidualGenerator(ConditionalGenerator):
    """Latent noise and class to image: from the coarsest features up, a residual block at each resolution.

    Args, Raises: as of `gan.networks.Generator`; every side is a multiple of 4.
    """

    def __init__(
        self, config: GanConfig, *, image_shape: tuple[int, int, int], num_classes: int, labels: Tensor | None = None
    ) -> None:
        super().__init__(config, image_shape=image_shape, num_classes=num_classes, labels=labels)
        channels, height, width = image_shape
        widths = widths_by_level(image_shape, config.generator_width)[::-1]  # coarsest first
        halvings = len(widths) - 1
        self.coarse_shape = (height >> halvings, width >> halvings, widths[0])
        self.project = nn.Linear(2 * config.latent_dim, widths[0] * (height >> halvings) * (width >> halvings))
        self.blocks = nn.ModuleList(ResidualBlock(each) for each in widths)
        self.narrow = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1, bias=False) for coarse, fine in itertools.pairwise(widths)
        )
        self.to_pixels = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Map latent (B, latent_dim) and labels (B,) int64 to images (B, C, H, W) in [-1, 1]."""
        conditioned = torch.cat([latent, self.class_embedding(labels)], dim=1)  # (B, 2 * latent_dim)
        features = self.project(conditioned).view(-1, *self.coarse_shape).permute(0, 3, 1, 2)  # channels last in memory
        for level, block in enumerate(self.blocks):
            if level:
                features = F.interpolate(self.narrow[level - 1](features), scale_factor=2, mode="bilinear")
            features = block(features)
        images: Tensor = self.to_pixels(F.leaky_relu(features, SLOPE)).tanh()
        return images


class ResidualDiscriminator(nn.Module):
    """Image and class to the logit of being real: the generator's mirror image, its features summed up by position."""

    def __init__(self, config: GanConfig, *, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        check_image_shape(image_shape)
        channels, height, width = image_shape
        widths = widths_by_level(image_shape, config.discriminator_width)  # finest first
        halvings = len(widths) - 1
        self.from_pixels = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(each) for each in widths)
        self.widen = nn.ModuleList(
            nn.Conv2d(fine, coarse, 1, bias=False) for fine, coarse in itertools.pairwise(widths)
        )
        # One weight for each channel and place, and no mixing: few enough to learn from few images.
        self.summed = nn.Conv2d(
            widths[-1], widths[-1], (height >> halvings, width >> halvings), groups=widths[-1], bias=False
        )
        self.linear = nn.Linear(widths[-1], 1)
        self.class_projection = nn.Embedding(num_classes, widths[-1])

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] and labels (B,) int64 to logits (B,); sigmoid gives P(real)."""
        features = self.from_pixels(images)
        for level, block in enumerate(self.blocks):
            if level:
                features = self.widen[level - 1](F.avg_pool2d(features, 2))
            features = block(features)
        features = self.summed(F.leaky_relu(features, SLOPE)).flatten(1)  # (B, w)
        return projected_logits(features, labels, linear=self.linear, class_projection=self.class_projection)


def initialise_residual(network: nn.Module, *, rng: torch.Generator) -> None:
    """Draw the initial weights from `rng`: variance kept everywhere (He et al. 2015) and, after Fixup, 0 in each
    branch's last convolution and its first one smaller by the root of the number of branches."""
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    gains: dict[nn.Module, float] = {block.first: GAIN * len(blocks) ** -0.5 for block in blocks}
    gains |= dict.fromkeys((block.second for block in blocks), 0.0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            inputs = module.weight[0].numel()
            nn.init.normal_(module.weight, 0.0, gains.get(module, 1.0) * inputs**-0.5, generator=rng)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            of_class = CLASS_EMBEDDING_STD if isinstance(network, ConditionalGenerator) else module.embedding_dim**-0.5
            nn.init.normal_(module.weight, 0.0, of_class, generator=rng)
        elif isinstance(module, ImageCodes):
            nn.init.normal_(module.vectors, 0.0, 1.0, generator=rng)
