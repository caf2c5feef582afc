"""Which networks play: the chapter's DCGAN (`gan.networks`), or the residual pair for larger images and colour."""

import torch
from torch import Tensor, nn

from gan.config import GanConfig
from gan.networks import ConditionalGenerator, Discriminator, Generator, initialise_dcgan
from gan.residual import ResidualDiscriminator, ResidualGenerator, initialise_residual


def new_generator(
    config: GanConfig, *, image_shape: tuple[int, int, int], num_classes: int, labels: Tensor | None = None
) -> ConditionalGenerator:
    """Build the generator of the configuration's architecture; arguments and errors as of `ConditionalGenerator`."""
    network = ResidualGenerator if config.architecture == "residual" else Generator
    return network(config, image_shape=image_shape, num_classes=num_classes, labels=labels)


def new_discriminator(config: GanConfig, *, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Build the discriminator of the configuration's architecture.

    Raises:
        UsageError: images of a shape that the networks cannot take.
    """
    network = ResidualDiscriminator if config.architecture == "residual" else Discriminator
    return network(config, image_shape=image_shape, num_classes=num_classes)


def initialise(network: nn.Module, *, config: GanConfig, rng: torch.Generator) -> None:
    """Draw a network's initial weights from `rng`, so that they depend on nothing else."""
    if config.architecture == "residual":
        initialise_residual(network, rng=rng)
    else:
        initialise_dcgan(network, config=config, rng=rng)
