"""Downstream classifiers behind one interface: a small ConvNet, logistic regression, k nearest neighbours."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from data.augmentation import deform, deform_by, draw_deformations
from data.base.cuda_graphs import RecordedStep
from data.base.device import Compute
from data.base.errors import AugmentError, UsageError
from data.base.operations import count_operations
from data.base.randomness import torch_stream
from data.tensors import to_pixels, to_unit_range
from evaluation.batches import batch_rows
from evaluation.config import ClassifierConfig
from evaluation.training_set import TrainingSet, evened_rows

PROGRESS_EVERY = 50  # steps
PREDICTION_BATCH = 500
ADAM_BETAS = (0.9, 0.98)  # PyTorch's 0.999 remembers more steps than a training has left; benchmarks/TRIALS.md

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ClassifierProgress:
    """What a training tells while it runs."""

    step: int
    num_steps: int
    loss: float
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What fitting needs besides images: fixed by the study, the same for all arms of a cell.

    Attributes:
        added_shares: share of an arm's added images in the first and in the last batch of its training.
    """

    config: ClassifierConfig
    added_shares: tuple[float, float]
    seed: int
    compute: Compute
    on_progress: Callable[[ClassifierProgress], None]


class Classifier(Protocol):
    """A fitted classifier."""

    def predict_probabilities(self, images: npt.NDArray[np.uint8]) -> Probabilities:
        """Map (N, C, H, W) uint8 images to class probabilities (N, num_classes) float32."""


def fit_classifier(training: TrainingSet, options: FitOptions) -> Classifier:
    """Train the configured kind of classifier on an arm's training set."""
    if options.config.kind == "convnet":
        return fit_convnet(training, options)
    return fit_scikit_learn(training, options)


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


@dataclass(frozen=True)
class FittedConvNet:
    """A trained ConvNet on its device."""

    network: ConvNet
    compute: Compute

    @torch.no_grad()
    def predict_probabilities(self, images: npt.NDArray[np.uint8]) -> Probabilities:
        parts = []
        for start in range(0, len(images), PREDICTION_BATCH):
            batch = to_unit_range(images[start : start + PREDICTION_BATCH]).to(self.compute.device)
            with self.compute.autocast():
                logits = self.network(batch.contiguous(memory_format=torch.channels_last))
            parts.append(logits.float().softmax(1).cpu())
        return torch.cat(parts).numpy()


def fit_convnet(training: TrainingSet, options: FitOptions) -> FittedConvNet:
    """Train a ConvNet for a fixed number of steps: AdamW, one-cycle schedule (Smith & Topin 2018, arXiv 1708.07120).

    Raises:
        AugmentError: the loss is not finite.
    """
    config, compute, deformation = options.config, options.compute, training.deformation
    rng = torch_stream(options.seed, "classifier batches")
    dropout_rng = torch_stream(options.seed, "classifier dropout")
    network = ConvNet(config, channels=training.base.shape[0], num_classes=training.base.num_classes)
    initialise(network, torch_stream(options.seed, "classifier initialisation"))
    network.to(compute.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        betas=ADAM_BETAS,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=max(config.steps, 2))
    parts = [training.base] if training.added is None else [training.base, training.added]
    images = to_unit_range(np.concatenate([part.images for part in parts])).to(compute.device)  # (N, C, H, W)
    labels = torch.from_numpy(np.concatenate([part.labels for part in parts])).to(compute.device)  # (N,)
    class_weights = None
    if training.balance == "loss":
        class_weights = balanced_weights(training.base.labels, num_classes=training.base.num_classes)
        class_weights = class_weights.to(compute.device)

    def loss_and_gradients(rows: Tensor, kept: Tensor, *coefficients: Tensor) -> Tensor:
        batch = images[rows]
        if deformation is not None:
            batch = deform_by(batch, *coefficients, config=deformation)
        with compute.autocast():
            logits = network(batch.contiguous(memory_format=torch.channels_last), kept)
        loss = classification_loss(
            logits.float(), labels[rows], label_smoothing=config.label_smoothing, class_weights=class_weights
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

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
    for step, rows in enumerate(rows_of_batches, start=1):
        coefficients = []
        if deformation is not None:
            coefficients.append(draw_deformations(len(rows), config=deformation, rng=rng))
        kept = torch.rand(len(rows), network.num_features, generator=dropout_rng) >= config.dropout
        loss = recorded(rows, kept, *coefficients)
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
    return FittedConvNet(network.eval(), compute)


def classifier_operations(config: ClassifierConfig, *, shape: tuple[int, int, int], num_classes: int) -> int:
    """Return how many floating-point operations a training takes on images of `shape` (C, H, W); at least 1."""
    if config.kind != "convnet":
        return 1
    network = ConvNet(config, channels=shape[0], num_classes=num_classes)

    def step() -> None:
        network(torch.zeros(config.batch_size, *shape)).sum().backward()

    return config.steps * count_operations(step)


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


@dataclass(frozen=True)
class FittedScikitLearn:
    """A fitted scikit-learn estimator over flattened pixels."""

    estimator: LogisticRegression | KNeighborsClassifier
    num_classes: int

    def predict_probabilities(self, images: npt.NDArray[np.uint8]) -> Probabilities:
        probabilities = np.zeros((len(images), self.num_classes), np.float32)
        probabilities[:, self.estimator.classes_] = self.estimator.predict_proba(_pixels(images))
        return probabilities


def fit_scikit_learn(training: TrainingSet, options: FitOptions) -> FittedScikitLearn:
    """Fit logistic regression or k-NN on base and added images; classical arms get deformed copies of each image.

    The L2 penalty of logistic regression is scaled with the number of images, so that more copies of the same
    images do not weaken it. Where batches would be drawn evenly by class, the images of rarer classes are repeated
    until all classes have as many.

    Raises:
        UsageError: k-NN with a weighted loss.
    """
    config = options.config
    rng = torch_stream(options.seed, "classifier batches")
    sets = [training.base] if training.added is None else [training.base, training.added]
    images = np.concatenate([part.images for part in sets])
    labels = np.concatenate([part.labels for part in sets])
    if training.balance == "batches":
        rows = evened_rows(labels)
        images, labels = images[rows], labels[rows]
    if training.deformation is not None:
        source = to_unit_range(images)
        copies = [
            to_pixels(deform(source, config=training.deformation, rng=rng)) for _ in range(config.deformed_copies)
        ]
        images = np.concatenate([images, *copies])
        labels = np.tile(labels, config.deformed_copies + 1)
    if config.kind == "knn":
        if training.balance == "loss":
            raise UsageError("knn has no loss to weight by class; leave out the arm class-weighted")
        estimator = KNeighborsClassifier(min(config.neighbours, len(labels)))
    else:
        estimator = LogisticRegression(
            C=100 / len(labels),
            max_iter=config.max_iterations,
            class_weight="balanced" if training.balance == "loss" else None,
        )
    started = time.monotonic()
    estimator.fit(_pixels(images), labels)
    rate = len(labels) / max(time.monotonic() - started, 1e-9)
    options.on_progress(ClassifierProgress(step=1, num_steps=1, loss=0.0, images_per_second=rate))
    return FittedScikitLearn(estimator, training.base.num_classes)


def _pixels(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
