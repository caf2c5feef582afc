"""Everything that training changes: what a checkpoint holds and a resumed run continues from."""

from dataclasses import dataclass

import torch
from torch import nn

from gan.codes import CodeOptimizer
from gan.encoder import Encoder
from gan.networks import ConditionalGenerator


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What was written down at the end of one epoch (or stretch of `grid_every` steps)."""

    step: int
    epochs: float
    discriminator_loss: float
    generator_loss: float
    kernel_distance: float
    grid: str


@dataclass(kw_only=True)
class TrainState:
    """Both players, the averaged generator, its snapshots, the optimisers, the random stream, the history.

    The generator's optimiser trains the encoder too, where there is one.
    """

    step: int
    generator: ConditionalGenerator
    discriminator: nn.Module
    ema_generator: ConditionalGenerator
    snapshots: list[ConditionalGenerator]
    generator_optimizer: torch.optim.Adam
    discriminator_optimizer: torch.optim.Adam
    code_optimizer: CodeOptimizer | None  # where codes are vectors of their own
    encoder: Encoder | None  # where codes are what it makes of images
    rng: torch.Generator
    history: list[EpochRecord]
