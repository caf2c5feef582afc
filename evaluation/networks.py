"""Networks as classifiers: a small ConvNet of our own, and the training that every network gets, whoever wrote it."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from data.base.cuda_graphs import RecordedStep
from data.base.device import Compute
from data.base.errors import AugmentError
from data.base.modes import as_in_prediction
from data.base.randomness import GlobalRandomness, torch_stream
from data.policies import Policy
from data.tensors import to_unit_range
from evaluation.batches import batch_rows
from evaluation.config import ClassifierConfig
from evaluation.consistency import NUM_DRAWN, UnlabelledBatches, statistics_apart
from evaluation.fitting import ClassifierProgress, FitOptions, Probabilities
from evaluation.named_classifiers import NamedNetwork, in_one_line
from evaluation.training_set import TrainingSet

PROGRESS_EVERY = 50  # steps
DRAWN_AHEAD = 8  # batches
PREDICTION_BATCH = 500
PREDICTION_PIXELS = 2_000_000  # of the images of a batch, in one channel: what wide networks keep of them is large
ADAM_BETAS = (0.9, 0.98)  # PyTorch's 0.999 remembers more steps than a training has left; benchmarks/TRIALS.md


class ConvNet(nn.Module):
    """Four convolutions with batch normalisation (w, 2w, 4w, 4w channels), two poolings, and the global average.

    The first one halves the image itself (4x4, stride 2): at full size and with few channels a processor is slow
    (benchmarks/TRIALS.md has what was tried).
    """

    def __init__(self, config: ClassifierConfig, *, channels: int, num_classes: int) -> None:
        super().__init__()
        width = config.width

        def block(convolution: nn.Conv2d) -> list[nn.Module]:
            return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]

        def same_size(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)

        self.layers = nn.Sequential(
            *block(nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=False)),
            *block(same_size(width, 2 * width)),
            nn.MaxPool2d(2, ceil_mode=True),
            *block(same_size(2 * width, 4 * width)),
            nn.MaxPool2d(2, ceil_mode=True),
            *block(same_size(4 * width, 4 * width)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.num_features = 4 * width
        self.dropout_rate = config.dropout
        self.head = nn.Linear(self.num_features, num_classes)

    def forward(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Map (B, C, H, W) in [-1, 1] to logits (B, num_classes).

        Args:
            kept: (B, 4w) bool, the features that dropout leaves; without them, all of them.
        """
        features: Tensor = self.layers(images)  # (B, 4w)
        if kept is not None:
            features = features * kept / (1 - self.dropout_rate)
        logits: Tensor = self.head(features)
        return logits


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """A network that is to be trained, on its device.

    Attributes:
        kind: what people know it by.
        draw: returns what its forward pass takes beside images, drawn anew for a batch of so many.
        memory_format: of the images that it takes.
        recordable: whether its steps may be recorded (`data.base.cuda_graphs`).
        around: surrounds its work, so that it draws from generators of its own, and fails in one line.
    """

    network: nn.Module
    kind: str
    draw: Callable[[int], tuple[Tensor, ...]] = lambda _: ()
    memory_format: torch.memory_format = torch.channels_last
    recordable: bool = True
    around: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(frozen=True)
class FittedConvNet:
    """A trained ConvNet on its device."""

    network: ConvNet
    compute: Compute

    def predict_probabilities(self, images: npt.NDArray[np.uint8]) -> Probabilities:
        return predict(Trainee(network=self.network, kind="convnet"), images, compute=self.compute)


@dataclass(frozen=True)
class FittedNetwork:
    """A trained network of somebody else's on its device."""

    trainee: Trainee
    compute: Compute

    def predict_probabilities(self, images: npt.NDArray[np.uint8]) -> Probabilities:
        return predict(self.trainee, images, compute=self.compute)


@torch.no_grad()
def predict(trained: Trainee, images: npt.NDArray[np.uint8], *, compute: Compute) -> Probabilities:
    """Map (N, C, H, W) uint8 images to a trained network's class probabilities (N, num_classes) float32.

    Raises:
        AugmentError: they are not finite.
    """
    parts = []
    at_once = max(1, min(PREDICTION_BATCH, PREDICTION_PIXELS // math.prod(images.shape[2:])))
    for start in range(0, len(images), at_once):
        batch = to_unit_range(images[start : start + at_once]).to(compute.device)
        with trained.around(), compute.autocast():
            logits = trained.network(batch.contiguous(memory_format=trained.memory_format))
        parts.append(logits.float().softmax(1).cpu())
    probabilities = torch.cat(parts)
    if not probabilities.isfinite().all():
        raise AugmentError(
            f"the classifier {trained.kind} answers NaN after its training; "
            "lower evaluation.classifier.learning_rate, or look for a division by zero in it"
        )
    return probabilities.numpy()


def fit_convnet(training: TrainingSet, options: FitOptions) -> FittedConvNet:
    """Train a ConvNet (`train_network`).

    Raises:
        AugmentError: the loss is not finite.
    """
    config, compute = options.config, options.compute
    dropout_rng = torch_stream(options.seed, "classifier dropout")
    network = ConvNet(config, channels=training.base.shape[0], num_classes=training.base.num_classes)
    initialise(network, torch_stream(options.seed, "classifier initialisation"))
    network.to(compute.device).to(memory_format=torch.channels_last)

    def draw(batch_size: int) -> tuple[Tensor, ...]:
        return (torch.rand(batch_size, network.num_features, generator=dropout_rng) >= config.dropout,)

    train_network(Trainee(network=network, kind=config.kind, draw=draw), training, options)
    return FittedConvNet(network, compute)


def fit_named_network(
    network: NamedNetwork, training: TrainingSet, options: FitOptions, randomness: GlobalRandomness
) -> FittedNetwork:
    """Train somebody else's network (`train_network`); nothing is taken for granted of what is not known here.

    Raises:
        AugmentError: the network fails, or the loss is not finite.
    """
    kind, known = options.config.kind, options.config.factory is None
    network.to(options.compute.device)
    if known:
        network.to(memory_format=torch.channels_last)

    @contextmanager
    def around() -> Iterator[None]:
        with in_one_line(kind, "its training"), randomness.lent():
            yield

    trainee = Trainee(
        network=network,
        kind=kind,
        memory_format=torch.channels_last if known else torch.contiguous_format,  # a `view` wants contiguous images
        recordable=known,
        around=around,
    )
    train_network(trainee, training, options)
    return FittedNetwork(trainee, options.compute)


def train_network(trainee: Trainee, training: TrainingSet, options: FitOptions) -> None:
    """Train a network for a fixed number of steps: AdamW, one-cycle schedule (Smith & Topin 2018, arXiv 1708.07120).

    Images without labels, where there are any, come in every batch beside the labelled ones (`evaluation.consistency`).
    Only parameters that require a gradient are trained. Afterwards the network is in evaluation mode.

    Raises:
        AugmentError: the loss is not finite.
    """
    config, compute, policy = options.config, options.compute, training.policy
    network = trainee.network
    rng = torch_stream(options.seed, "classifier batches")
    unlabelled_rng = torch_stream(options.seed, "classifier batches without labels")  # labelled ones stay as they are
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained,
        lr=config.peak_learning_rate,
        weight_decay=config.weight_decay,
        betas=ADAM_BETAS,
        fused=all(parameter.is_floating_point() for parameter in trained),
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.peak_learning_rate, total_steps=max(config.steps, 2)
    )
    parts = [training.base] if training.added is None else [training.base, training.added]
    pixels = np.concatenate([part.images for part in parts])
    images = to_unit_range(pixels).to(compute.device)  # (N, C, H, W)
    labels = torch.from_numpy(np.concatenate([part.labels for part in parts])).to(compute.device)  # (N,)
    class_weights = None
    if training.balance == "loss":
        class_weights = balanced_weights(training.base.labels, num_classes=training.base.num_classes)
        class_weights = class_weights.to(compute.device)

    unlabelled = None if training.consistency is None else UnlabelledBatches(training, config, compute=compute)

    def answers(batch: Tensor, *drawn: Tensor) -> Tensor:
        with compute.autocast():
            logits: Tensor = network(batch.contiguous(memory_format=trainee.memory_format), *drawn)
        return logits.float()

    def loss_and_gradients(rows: Tensor, *drawn: Tensor) -> Tensor:
        batch = images[rows]
        if policy is not None:
            changes, *drawn = drawn  # type: ignore[assignment]
            batch = policy.apply(batch, changes)
        if unlabelled is not None:
            of_unlabelled, drawn = drawn[:NUM_DRAWN], drawn[NUM_DRAWN:]
            drawn, of_strong = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
        loss = classification_loss(
            answers(batch, *drawn), labels[rows], label_smoothing=config.label_smoothing, class_weights=class_weights
        )
        if unlabelled is not None:
            weakly, strongly = unlabelled.views(*of_unlabelled)
            with torch.no_grad(), as_in_prediction(network):
                own_labels, believed = unlabelled.targets(answers(weakly))
            with statistics_apart(network):
                loss = loss + unlabelled.loss(answers(strongly, *of_strong), own_labels, believed)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    recorded: Callable[..., Tensor] = _plain_step(loss_and_gradients, compute=compute)
    if trainee.recordable:
        recorded = RecordedStep(loss_and_gradients, compute=compute)
    rows_of_batches = batch_rows(
        training,
        num_batches=config.steps,
        batch_size=config.batch_size,
        added_shares=options.added_shares,
        rng=rng,
    )
    started = time.monotonic()
    network.train()
    for step, (rows, changes) in enumerate(with_changes(rows_of_batches, pixels, policy=policy, rng=rng), start=1):
        drawn = trainee.draw(len(rows))
        if unlabelled is not None:
            changes += unlabelled.draw(unlabelled_rng)
            drawn += trainee.draw(unlabelled.size)
        with trainee.around():
            loss = recorded(rows, *changes, *drawn)
            optimizer.step()
        schedule.step()
        if step % PROGRESS_EVERY == 0 or step == config.steps:
            value = float(loss)
            if not math.isfinite(value):
                raise AugmentError(
                    f"classifier training diverged: loss is {value} at step {step}; "
                    "lower evaluation.classifier.learning_rate"
                )
            rate = step * config.batch_size / max(time.monotonic() - started, 1e-9)
            options.on_progress(
                ClassifierProgress(step=step, num_steps=config.steps, loss=value, images_per_second=rate)
            )
    network.eval()


def with_changes(
    rows_of_batches: Iterator[Tensor], pixels: npt.NDArray[np.uint8], *, policy: Policy | None, rng: torch.Generator
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield each batch's rows and what its policy draws for it, if any.

    That is drawn for `DRAWN_AHEAD` batches at once: for one it takes a twentieth of a small network's step.
    """
    while ahead := list(islice(rows_of_batches, DRAWN_AHEAD)):
        changes: Sequence[list[Tensor]] = [[] for _ in ahead]
        if policy is not None:
            drawn = policy.draw(pixels[torch.cat(ahead)], rng)
            changes = [[own] for own in torch.split(drawn, [len(rows) for rows in ahead])]
        yield from zip(ahead, changes, strict=True)


def _plain_step(step: Callable[..., Tensor], *, compute: Compute) -> Callable[..., Tensor]:
    return lambda *inputs: step(*(given.to(compute.device) for given in inputs))


def balanced_weights(labels: npt.NDArray[np.int64], *, num_classes: int) -> Tensor:
    """Return weights (num_classes,) float32 inverse to the classes' frequencies, 1 on average over `labels`.

    scikit-learn's "balanced" (King & Zeng 2001); a class without images gets 0, which no loss meets.
    """
    weights = torch.zeros(num_classes)
    present = np.unique(labels)
    weights[torch.from_numpy(present)] = torch.from_numpy(
        compute_class_weight("balanced", classes=present, y=labels).astype(np.float32)
    )
    return weights


def classification_loss(
    logits: Tensor, labels: Tensor, *, label_smoothing: float, class_weights: Tensor | None
) -> Tensor:
    """Return the mean cross-entropy of a batch, a scalar; with `class_weights`, each image's counts by its class.

    The mean is over images, not over weights as in `F.cross_entropy(weight=...)`: that would give back within a batch
    what the weights take, and weight smoothed targets by classes that the image does not belong to.
    """
    if class_weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    losses = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")  # (B,)
    return (losses * class_weights[labels]).mean()


def initialise(network: nn.Module, rng: torch.Generator) -> None:
    """Draw Kaiming-normal weights (He et al. 2015, arXiv 1502.01852, equation 10) from `rng`."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=rng)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
