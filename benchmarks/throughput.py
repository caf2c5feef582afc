"""Training images per second of the default GAN against the plain float32 eager DCGAN step of the same architecture.

    python -m benchmarks.throughput [--device auto|cpu|cuda] [--repeats 60] [--images 1000] [--gan KEY=VALUE]

The plain step is written as in PyTorch's DCGAN tutorial: float32, default memory layout, no augmentation, a class row
gathered per image, always the same batch. The default's step includes taking its batch and, with fewer than 10,000
images, differentiable augmentation and the codes of images, which the plain one does not have. Both are timed in turn,
so that a busy machine slows both. The machine's rate is measured in the same minute, by a large matrix product in the
training's precision. Generation is timed without encoding and writing, whose share `benchmarks.export` tells.
"""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.protocol import overridden, random_ensemble
from benchmarks.results import add_result, median_and_spread, seconds_each
from data.base.device import Compute, resolve_compute
from data.base.randomness import torch_stream
from data.images import LabelledImages
from data.sources.registry import load_source
from data.tensors import to_unit_range
from gan.config import GanConfig
from gan.networks import Discriminator, Generator
from gan.sampling import draw_images
from gan.training import PROGRESS_EVERY, Training

GENERATED = 10_000
ROUNDS = 5  # of alternating measurements


class PlainPlayers:
    """The same two networks and their optimisers, with nothing done for speed."""

    def __init__(self, config: GanConfig, *, image_shape: tuple[int, int, int], num_classes: int, device: str) -> None:
        torch.manual_seed(0)
        self.config = config
        self.generator = Generator(config, image_shape=image_shape, num_classes=num_classes).to(device)
        self.discriminator = Discriminator(config, image_shape=image_shape, num_classes=num_classes).to(device)
        channels, width = image_shape[0], config.discriminator_width
        self.discriminator.features[0] = nn.Conv2d(channels, width, 4, stride=2, padding=1).to(device)
        betas = (0.5, 0.999)
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), lr=2e-4, betas=betas)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=2e-4, betas=betas)

    def images(self, latent: Tensor, labels: Tensor) -> Tensor:
        generator = self.generator
        conditioned = torch.cat([latent, generator.class_embedding(labels)], dim=1)
        height, width, coarse = generator.coarse_shape
        features = generator.norm1(generator.project(conditioned).view(-1, coarse, height, width)).relu()
        features = generator.norm2(generator.up1(features)).relu()
        images: Tensor = generator.up2(features).tanh()
        return images

    def logits(self, images: Tensor, labels: Tensor) -> Tensor:
        features = self.discriminator.features(images).flatten(1)
        linear = self.discriminator.linear(features).squeeze(1)
        logits: Tensor = linear + (features * self.discriminator.class_projection(labels)).sum(1)
        return logits

    def step(self, images: Tensor, labels: Tensor) -> None:
        ones, zeros = torch.ones(len(images), device=images.device), torch.zeros(len(images), device=images.device)
        cross_entropy = F.binary_cross_entropy_with_logits
        self.discriminator.zero_grad()
        cross_entropy(self.logits(images, labels), ones).backward()  # type: ignore[no-untyped-call]
        latent = torch.randn(len(images), self.config.latent_dim, device=images.device)
        fake_images = self.images(latent, labels)
        cross_entropy(self.logits(fake_images.detach(), labels), zeros).backward()  # type: ignore[no-untyped-call]
        self.discriminator_optimizer.step()
        self.generator.zero_grad()
        cross_entropy(self.logits(fake_images, labels), ones).backward()  # type: ignore[no-untyped-call]
        self.generator_optimizer.step()


def flops_of_a_step(train: LabelledImages, config: GanConfig) -> int:
    """Count what one step multiplies and adds, in a training of its own: a counted step is neither compiled nor
    recorded, and PyTorch would not compile its networks afterwards either."""
    as_written = config.model_copy(update={"compiled": False})
    compute = Compute(device="cpu", precision="float32")
    training = Training(train, config=as_written, seed=0, compute=compute)
    with FlopCounterMode(display=False) as counter:
        training.step()
    return int(counter.get_total_flops())


def repeat(work: Callable[[], object], times: int) -> None:
    """Do work again and again, without looking at the clock in between."""
    for _ in range(times):
        work()


def matrix_product_rate(compute: Compute) -> float:
    """Return the FLOP/s of a large matrix product in the precision that training uses."""
    dtype = torch.bfloat16 if compute.precision == "bfloat16" else torch.float32
    side = 8192 if compute.device == "cuda" else 2048
    a, b = (torch.randn(side, side, device=compute.device).to(dtype) for _ in range(2))
    return 2 * side**3 / min(seconds_each(lambda: a @ b, compute=compute, repeats=10))


def generating(config: GanConfig, *, image_shape: tuple[int, int, int], compute: Compute) -> Callable[[], object]:
    """Return work that draws `GENERATED` images as an export does."""
    generator = (
        random_ensemble(config, image_shape=image_shape).to(compute.device).to(memory_format=torch.channels_last).eval()
    )
    labels = np.arange(GENERATED, dtype=np.int64) % 10
    return lambda: draw_images(generator, labels, rng=torch_stream(0, "benchmark"), compute=compute)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--repeats", type=int, default=60, help="timed steps of each, on a GPU stretches of steps")
    parser.add_argument("--images", type=int, default=1000, help="of MNIST in the subset, which decides the recipe")
    parser.add_argument("--gan", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    compute = resolve_compute(device=arguments.device, precision="auto")
    train = load_source("mnist").train.take(np.arange(arguments.images))
    config = overridden(GanConfig(), arguments.gan).for_subset(len(train), image_shape=train.shape)
    batch = config.batch_size
    training = Training(train, config=config, seed=0, compute=compute)
    plain = PlainPlayers(config, image_shape=train.shape, num_classes=train.num_classes, device=compute.device)

    rows = training.batches.of_step(0)
    images, labels = to_unit_range(train.images[rows]).to(compute.device), torch.from_numpy(train.labels)[rows]
    theirs = partial(plain.step, images, labels.to(compute.device))

    ours = training.step
    stretch = PROGRESS_EVERY if compute.device == "cuda" else 1  # as long as training does not wait for the device
    our_seconds: list[float] = []
    their_seconds: list[float] = []
    for _ in range(ROUNDS):
        for seconds, step in ((our_seconds, ours), (their_seconds, theirs)):
            stretches = seconds_each(
                partial(repeat, step, stretch), compute=compute, repeats=arguments.repeats // ROUNDS
            )
            seconds += [each / stretch for each in stretches]
    generating_seconds = seconds_each(
        generating(config, image_shape=train.shape, compute=compute), compute=compute, repeats=8
    )
    flops = flops_of_a_step(train, config)
    peak = matrix_product_rate(compute)
    achieved = flops / sorted(our_seconds)[len(our_seconds) // 2]
    ratios = [b / a for a, b in zip(our_seconds, their_seconds, strict=True)]
    figures = [
        ("default, training images/s", median_and_spread([batch / each for each in our_seconds])),
        (
            "plain float32 eager DCGAN step, training images/s",
            median_and_spread([batch / each for each in their_seconds]),
        ),
        ("default over plain", median_and_spread(ratios, digits=2)),
        ("generation, images/s", median_and_spread([GENERATED / each for each in generating_seconds])),
        (
            "roofline",
            f"{flops / 1e9:.1f} GFLOP a step, {achieved / 1e9:,.0f} GFLOP/s achieved of {peak / 1e9:,.0f} GFLOP/s "
            f"that a large matrix product reaches ({achieved / peak:.0%})",
        ),
    ]
    add_result("throughput", compute=compute, figures=figures)


if __name__ == "__main__":
    main()
