"""Training of the conditional GAN on one subset (exercise 3 of the chapter).

`gan.game.train_step` is the whole game in one page: discriminator update, generator update, codes, moving average.
`Training` feeds it batch after batch; `train` adds what makes it a job: checkpoints, the sample grid after every epoch,
the stop on non-finite losses.
"""

import copy
import math
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from data.base.cuda_graphs import RecordedStep
from data.base.device import Compute
from data.base.errors import AugmentError
from data.base.files import digest_json, write_json
from data.base.operations import count_operations
from data.base.randomness import torch_stream
from data.images import LabelledImages
from data.tensors import to_pixels, to_unit_range
from gan.architecture import initialise, new_discriminator, new_generator
from gan.batches import Batches
from gan.checkpoint import GENERATOR_FILE, HISTORY_FILE, load_checkpoint, save_checkpoint, save_generator
from gan.closeness import kernel_distance
from gan.codes import CodeOptimizer, ImageCodes
from gan.config import GanConfig
from gan.encoder import MOST_CODES, Encoder, codes_of, kept_rows
from gan.game import RealBatch, StepDraws, StepMetrics, draws_of_step, train_step
from gan.grid import write_grid
from gan.networks import ConditionalGenerator, GeneratorEnsemble, initialise_dcgan
from gan.sampling import generate
from gan.state import EpochRecord, TrainState

# Adam's steps before the recording are not captured, and must be capturable all the same.
warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")

CLOSENESS_SAMPLES = 500
GRID_COLUMNS, GRID_CLASSES = 8, 10  # at most so many classes are shown
SETTLING_BATCHES = 16
PROGRESS_EVERY = 20  # steps; reading a loss waits for the device


class NonFiniteLossError(AugmentError):
    """Training diverged."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """`StepMetrics`, read from the device."""

    discriminator: float
    generator: float


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """What a long training tells while it runs."""

    step: int
    num_steps: int
    discriminator_loss: float
    generator_loss: float
    images_per_second: float
    remaining_seconds: float


def new_state(subset: LabelledImages, *, config: GanConfig, seed: int, compute: Compute) -> TrainState:
    """Build both networks, the average and the optimisers at step 0, all drawn from `seed`.

    Raises:
        UsageError: the networks cannot make images of the subset's shape.
    """
    shape, num_classes = subset.shape, subset.num_classes
    with_codes = float(config.reconstruction_weight) > 0
    labels = torch.from_numpy(subset.labels) if with_codes and not config.encoder else None
    generator = new_generator(config, image_shape=shape, num_classes=num_classes, labels=labels)
    discriminator = new_discriminator(config, image_shape=shape, num_classes=num_classes)
    rng = torch_stream(seed, "gan initialisation")
    initialise(generator, config=config, rng=rng)
    initialise(discriminator, config=config, rng=rng)
    encoder = Encoder(config, image_shape=shape) if with_codes and config.encoder else None
    generator.to(compute.device).to(memory_format=torch.channels_last)
    discriminator.to(compute.device).to(memory_format=torch.channels_last)
    if encoder is not None:
        initialise_dcgan(encoder, config=config.model_copy(update={"initialisation": "default"}), rng=rng)
        encoder.to(compute.device).to(memory_format=torch.channels_last)
    codes = generator.codes
    code_optimizer = None if codes is None else CodeOptimizer(codes, learning_rate=config.code_learning_rate)

    def adam(*networks: nn.Module | None, learning_rate: float) -> torch.optim.Adam:
        return torch.optim.Adam(
            [parameter for network in networks if network is not None for parameter in network.parameters()],
            lr=learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            fused=True,
            capturable=compute.device == "cuda",  # its step count on the device
        )

    return TrainState(
        step=0,
        generator=generator,
        discriminator=discriminator,
        ema_generator=copy.deepcopy(generator),
        generator_optimizer=adam(generator, encoder, learning_rate=config.learning_rate),
        discriminator_optimizer=adam(discriminator, learning_rate=config.discriminator_learning_rate),
        code_optimizer=None if code_optimizer is None else code_optimizer.to(compute.device),
        encoder=encoder,
        snapshots=[],
        rng=torch_stream(seed, "gan training"),
        history=[],
    )


class Training:
    """The GAN of one subset in training: its state, and the images it learns from, on their device.

    Args:
        config: with "auto" decided (`GanConfig.for_subset`).

    Raises:
        UsageError: the networks cannot make images of the subset's shape.
    """

    def __init__(self, subset: LabelledImages, *, config: GanConfig, seed: int, compute: Compute) -> None:
        self.config = config
        self.compute = compute
        self.seed = seed
        self.subset = subset
        self.state = state = new_state(subset, config=config, seed=seed, compute=compute)
        self.batches = Batches(
            subset.labels, batch_size=config.batch_size, seed=seed, class_balanced=config.class_balanced_batches
        )
        self._images = to_unit_range(subset.images).to(compute.device).contiguous(memory_format=torch.channels_last)
        self._labels = torch.from_numpy(subset.labels).to(compute.device)
        images, labels = self._images, self._labels
        if config.compiled:
            for network in (state.generator, state.discriminator):
                network.compile()

        def step(rows: Tensor, latent: Tensor, *views: Tensor) -> StepMetrics:
            batch, draws = RealBatch(images[rows], labels[rows], rows), StepDraws(latent, views)
            return train_step(state, batch, draws, config=config, compute=compute)

        self._step = RecordedStep(step, compute=compute)

    def step(self) -> StepMetrics:
        """Train both players on the next batch."""
        draws = draws_of_step(self.config, size=self.subset.shape[1:], rng=self.state.rng)
        metrics = self._step(self.batches.of_step(self.state.step), draws.latent, *draws.views)
        self.state.step += 1
        return StepMetrics(metrics.discriminator_loss.clone(), metrics.generator_loss.clone())

    def averaged(self) -> ConditionalGenerator:
        """Return a copy of the averaged generator as it is now, with an encoder's codes where there is one."""
        averaged = copy.deepcopy(self.state.ema_generator)
        if self.state.encoder is not None:
            kept = kept_rows(self.subset.labels, most=MOST_CODES, seed=self.seed)
            rows = torch.from_numpy(kept).to(self.compute.device)
            averaged.codes = ImageCodes(self._labels[rows], latent_dim=averaged.latent_dim)
            with self.compute.autocast():
                averaged.codes.vectors = codes_of(self.state.encoder, self._images[rows])
        return averaged

    def settled(self) -> ConditionalGenerator:
        """Return a copy of the averaged generator as it is now, ready to draw from."""
        generator = self.averaged()
        settle_batch_norm(
            generator,
            config=self.config,
            num_classes=self.subset.num_classes,
            seed=self.seed,
            compute=self.compute,
        )
        return generator


def training_operations(subset: LabelledImages, *, config: GanConfig) -> int:
    """Return how many floating-point operations a whole training on `subset` takes.

    Args:
        config: with "auto" decided (`GanConfig.for_subset`).
    """
    compute = Compute(device="cpu", precision="float32")
    training = Training(subset, config=config.model_copy(update={"compiled": False}), seed=0, compute=compute)
    return config.steps * count_operations(training.step)


def snapshot_steps(config: GanConfig) -> frozenset[int]:
    """Return after which steps the averaged generator is kept: evenly over the second half, the last one included."""
    half = config.steps - config.steps // 2
    return frozenset(config.steps - place * half // config.snapshots for place in range(config.snapshots))


def train(
    subset: LabelledImages,
    directory: Path,
    *,
    config: GanConfig,
    seed: int,
    compute: Compute,
    on_progress: Callable[[TrainingProgress], None],
    code: str = "",
) -> bool:
    """Train a GAN on `subset` and leave `generator.safetensors`, `history.json` and `epochs/*.png` in `directory`.

    Goes on from `directory/state.safetensors` where a training of the same configuration, subset and seed was
    interrupted, and ends with the same bytes as an uninterrupted one (CPU, same thread count). Where the checkpoint
    there is another training's, this one starts anew and replaces it and its pictures; it returns whether that was so.

    Args:
        code: digest of the code that trains; a training that other code began is another one.

    Raises:
        NonFiniteLossError: a loss or a weight became NaN or infinite; the last good checkpoint stays.
        CorruptFileError: the interrupted training's checkpoint cannot be read.
        UsageError: the networks cannot make images of the subset's shape.
    """
    config = config.for_subset(len(subset), imbalance=subset.imbalance, image_shape=subset.shape)
    checkpoint = directory / "state.safetensors"
    identity = digest_json([config.model_dump(mode="json"), subset.digest(), seed, compute.as_dict(), code])
    training = Training(subset, config=config, seed=seed, compute=compute)
    state = training.state
    interrupted = checkpoint.exists()
    resumed = interrupted and load_checkpoint(checkpoint, state, identity=identity)
    if not resumed:
        shutil.rmtree(directory / "epochs", ignore_errors=True)
    look_every = max(config.grid_every, math.ceil(len(subset) / config.batch_size))
    due_snapshots = snapshot_steps(config)
    started, first_step = time.monotonic(), state.step
    unread: list[StepMetrics] = []

    for module in (state.generator, state.discriminator, state.encoder):
        if module is not None:
            module.train()
    while state.step < config.steps:
        unread.append(training.step())
        if state.step in due_snapshots:
            state.snapshots.append(training.settled())
        last = state.step == config.steps
        look = last or state.step % look_every == 0
        save = last or state.step % config.checkpoint_every == 0
        if not (look or save or state.step % PROGRESS_EVERY == 0):
            continue
        losses = read_losses(unread, last_step=state.step, checkpoint=checkpoint)
        unread.clear()
        rate = (state.step - first_step) / max(time.monotonic() - started, 1e-9)  # steps per second
        on_progress(
            TrainingProgress(
                step=state.step,
                num_steps=config.steps,
                discriminator_loss=losses.discriminator,
                generator_loss=losses.generator,
                images_per_second=rate * config.batch_size,
                remaining_seconds=(config.steps - state.step) / rate,
            )
        )
        if look or save:
            check_weights(state, checkpoint=checkpoint)
        if look:
            averaged = state.snapshots[-1] if state.step in due_snapshots else training.settled()
            state.history.append(look_at_samples(training, averaged, directory, losses=losses))
        if save:
            save_checkpoint(checkpoint, state, identity=identity)

    write_json(directory / HISTORY_FILE, [asdict(record) for record in state.history])
    save_generator(
        directory / GENERATOR_FILE,
        GeneratorEnsemble(state.snapshots),
        config=config,
        image_shape=subset.shape,
        class_names=subset.class_names,
    )
    checkpoint.unlink(missing_ok=True)
    return interrupted and not resumed


def read_losses(unread: Sequence[StepMetrics], *, last_step: int, checkpoint: Path) -> Losses:
    """Fetch the losses of the steps up to `last_step` from the device and return the last ones.

    Raises:
        NonFiniteLossError: naming the first step and loss that are not finite.
    """
    first_step = last_step - len(unread) + 1
    for step, metrics in enumerate(unread, start=first_step):
        losses = Losses(discriminator=float(metrics.discriminator_loss), generator=float(metrics.generator_loss))
        for player, value in asdict(losses).items():
            if not math.isfinite(value):
                raise _diverged(f"{player} loss is {value} at step {step}", checkpoint)
    return losses


def check_weights(state: TrainState, *, checkpoint: Path) -> None:
    """Make sure that the last update, which no loss has seen yet, did not break a network that is to be kept.

    Raises:
        NonFiniteLossError: a weight is NaN or infinite.
    """
    networks = (("discriminator", state.discriminator), ("generator", state.generator), ("encoder", state.encoder))
    for player, network in networks:
        if network is not None and not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
            raise _diverged(f"{player} loss left weights that are not finite at step {state.step}", checkpoint)


def _diverged(what: str, checkpoint: Path) -> NonFiniteLossError:
    kept = f"the last good checkpoint is kept in {checkpoint}" if checkpoint.exists() else "no checkpoint was due yet"
    return NonFiniteLossError(
        f"GAN training diverged: {what}; {kept}; lower gan.learning_rate or raise gan.r1_gamma, and start again"
    )


@torch.no_grad()
def settle_batch_norm(
    generator: ConditionalGenerator,
    *,
    config: GanConfig,
    num_classes: int,
    seed: int,
    compute: Compute,
) -> None:
    """Re-estimate the averaged generator's batch statistics, which belong to other weights (Izmailov et al. 2018,
    arXiv 1803.05407, section 3.2); leaves it in evaluation mode.

    From noise, as half of the images of its training are; with an encoder all are of codes, and so are these.
    """
    rng = torch_stream(seed, "gan batch statistics")
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches below
    generator.train()
    for _ in range(SETTLING_BATCHES):
        latent = torch.randn(config.batch_size, config.latent_dim, generator=rng).to(compute.device)
        labels = torch.randint(num_classes, (config.batch_size,), generator=rng).to(compute.device)
        if config.encoder:
            latent = generator.latent_of(latent, labels)
        with compute.autocast():
            generator(latent, labels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    generator.eval()


def look_at_samples(
    training: Training, averaged: ConditionalGenerator, directory: Path, *, losses: Losses
) -> EpochRecord:
    """Write the grid of samples beside real images of the same classes, and measure how close they are.

    Always the same latents and the same real images, so that the grids make a film of the training.

    Args:
        averaged: what makes the samples (`Training.settled`).
        losses: of the last step, for the record.
    """
    state, config, subset = training.state, training.config, training.subset
    rng = torch_stream(training.seed, "gan grid")
    order = torch.randperm(len(subset), generator=rng).numpy()
    shown = []
    for label in range(min(subset.num_classes, GRID_CLASSES)):
        of_class = order[subset.labels[order] == label]
        shown.append(np.resize(of_class, GRID_COLUMNS))
    grid_rows = np.concatenate(shown)
    measured = order[:CLOSENESS_SAMPLES]
    rows = np.concatenate([grid_rows, measured])
    noise = torch.randn(len(rows), config.latent_dim, generator=rng)
    generator = GeneratorEnsemble([averaged])
    fake = generate(generator, noise, torch.from_numpy(subset.labels[rows]), compute=training.compute)
    distance = kernel_distance(to_unit_range(subset.images[measured]), fake[len(grid_rows) :])
    name = f"epochs/step-{state.step:06d}.png"
    write_grid(
        directory / name,
        real=subset.images[grid_rows],
        fake=to_pixels(fake[: len(grid_rows)]),
        columns=GRID_COLUMNS,
    )
    return EpochRecord(
        step=state.step,
        epochs=state.step * config.batch_size / len(subset),
        discriminator_loss=losses.discriminator,
        generator_loss=losses.generator,
        kernel_distance=distance,
        grid=name,
    )
