"""Downstream classifiers behind one interface: a small ConvNet, logistic regression, k nearest neighbours, and those of
`evaluation.named_classifiers`: ResNet-18, scikit-learn's estimators, the user's own."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from torch import Tensor, nn

from data.augmentation import deform, deform_by, draw_deformations
from data.base.cuda_graphs import RecordedStep
from data.base.device import Compute
from data.base.errors import AugmentError, UsageError
from data.base.operations import count_operations
from data.base.randomness import GlobalRandomness, child_seed, torch_stream
from data.tensors import to_pixels, to_unit_range
from evaluation.batches import batch_rows
from evaluation.config import ClassifierConfig
from evaluation.named_classifiers import (
    Estimator,
    NamedNetwork,
    checked_probabilities,
    classes_of,
    in_one_line,
    make_classifier,
    make_estimator,
    takes_weights,
    with_probabilities,
)
from evaluation.training_set import Balance, TrainingSet, evened_rows

PROGRESS_EVERY = 50  # steps
PREDICTION_BATCH = 500
PREDICTION_PIXELS = 2_000_000  # of the images of a batch, in one channel: what wide networks keep of them is large
COUNTED_IMAGES = 2  # of a step whose operations are counted
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
    """Train the configured kind of classifier on an arm's training set.

    Raises:
        AugmentError: training diverged, or what the user named is not allowed, missing, fails or is no classifier.
    """
    config = options.config
    if config.kind == "convnet":
        return fit_convnet(training, options)
    if config.kind in ("logistic_regression", "knn") or config.estimator is not None:
        return fit_scikit_learn(training, options)
    randomness = _randomness_of(options)
    made = make_classifier(
        config, shape=training.base.shape, num_classes=training.base.num_classes, randomness=randomness
    )
    if isinstance(made, NamedNetwork):
        return fit_named_network(made, training, options, randomness)
    return fit_estimator(made, fitting_images(training, options), training, options, inputs=_unit_images)


def _randomness_of(options: FitOptions) -> GlobalRandomness:
    return GlobalRandomness(child_seed(options.seed, "named classifier"), device=options.compute.device)


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

    Only parameters that require a gradient are trained. Afterwards the network is in evaluation mode.

    Raises:
        AugmentError: the loss is not finite.
    """
    config, compute, deformation = options.config, options.compute, training.deformation
    network = trainee.network
    rng = torch_stream(options.seed, "classifier batches")
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
    images = to_unit_range(np.concatenate([part.images for part in parts])).to(compute.device)  # (N, C, H, W)
    labels = torch.from_numpy(np.concatenate([part.labels for part in parts])).to(compute.device)  # (N,)
    class_weights = None
    if training.balance == "loss":
        class_weights = balanced_weights(training.base.labels, num_classes=training.base.num_classes)
        class_weights = class_weights.to(compute.device)

    def loss_and_gradients(rows: Tensor, *drawn: Tensor) -> Tensor:
        batch = images[rows]
        if deformation is not None:
            coefficients, *drawn = drawn  # type: ignore[assignment]
            batch = deform_by(batch, coefficients, config=deformation)
        with compute.autocast():
            logits = network(batch.contiguous(memory_format=trainee.memory_format), *drawn)
        loss = classification_loss(
            logits.float(), labels[rows], label_smoothing=config.label_smoothing, class_weights=class_weights
        )
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
    for step, rows in enumerate(rows_of_batches, start=1):
        coefficients = []
        if deformation is not None:
            coefficients.append(draw_deformations(len(rows), config=deformation, rng=rng))
        drawn = trainee.draw(len(rows))
        with trainee.around():
            loss = recorded(rows, *coefficients, *drawn)
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


def _plain_step(step: Callable[..., Tensor], *, compute: Compute) -> Callable[..., Tensor]:
    return lambda *inputs: step(*(given.to(compute.device) for given in inputs))


def classifier_operations(config: ClassifierConfig, *, shape: tuple[int, int, int], num_classes: int) -> int | None:
    """Return how many floating-point operations a training takes on images of `shape` (C, H, W).

    None where there are no steps to take more of, as for an estimator, or where operations cannot be counted.

    Raises:
        UsageError: what the user named is not allowed, missing, fails or is no classifier.
    """
    if config.kind in ("logistic_regression", "knn") or config.estimator is not None:
        return None
    if config.kind == "convnet":
        network: object = ConvNet(config, channels=shape[0], num_classes=num_classes)
    else:
        randomness = GlobalRandomness(0, device="cpu")
        network = make_classifier(config, shape=shape, num_classes=num_classes, randomness=randomness)
    if not isinstance(network, nn.Module):
        return None
    network.train()

    def step() -> None:
        network(torch.zeros(COUNTED_IMAGES, *shape)).sum().backward()

    try:
        counted = count_operations(step)
    except Exception:  # of the counter, for operations that it does not know, or of the user's code, which will tell
        return None
    return config.steps * counted * config.batch_size // COUNTED_IMAGES or None


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


@dataclass(frozen=True, kw_only=True)
class ImageEstimator:
    """An estimator, and what it takes of images.

    Attributes:
        inputs: maps (N, C, H, W) uint8 images to what it takes.
        randomness: what it draws from by the global generators.
    """

    estimator: Estimator
    kind: str
    num_classes: int
    inputs: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
    randomness: GlobalRandomness

    def fit(self, given: "FittingImages", *, balance: Balance) -> None:
        """Fit the estimator, by the inverse frequency of classes where `balance` is "loss".

        Raises:
            UsageError: it fails, or cannot weight by class.
        """
        weights = {}
        if balance == "loss":
            if not takes_weights(self.estimator):
                raise no_loss_to_weight(self.kind)
            weights = {"sample_weight": compute_sample_weight("balanced", given.labels)}
        with in_one_line(self.kind, "its fit"), self.randomness.lent():
            self.estimator.fit(self.inputs(given.images), given.labels, **weights)

    def predict_probabilities(self, images: npt.NDArray[np.uint8]) -> Probabilities:
        classes = classes_of(self.estimator, num_classes=self.num_classes, kind=self.kind)
        with in_one_line(self.kind, "its predict_proba"), self.randomness.lent():
            given = self.estimator.predict_proba(self.inputs(images))
        return checked_probabilities(
            given, num_images=len(images), classes=classes, num_classes=self.num_classes, kind=self.kind
        )


@dataclass(frozen=True, kw_only=True)
class FittingImages:
    """What an estimator is fitted to: images (N, C, H, W) uint8, labels (N,), and which image each is a copy of (N,)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    origins: npt.NDArray[np.int64]


def fitting_images(training: TrainingSet, options: FitOptions) -> FittingImages:
    """Put base and added images together; classical arms get deformed copies of each image.

    Where batches would be drawn evenly by class, the images of rarer classes are repeated until all classes have as
    many.
    """
    config = options.config
    rng = torch_stream(options.seed, "classifier batches")
    sets = [training.base] if training.added is None else [training.base, training.added]
    images = np.concatenate([part.images for part in sets])
    labels = np.concatenate([part.labels for part in sets])
    origins = np.arange(len(labels), dtype=np.int64)
    if training.balance == "batches":
        origins = evened_rows(labels)
        images, labels = images[origins], labels[origins]
    if training.deformation is not None:
        source = to_unit_range(images)
        copies = [
            to_pixels(deform(source, config=training.deformation, rng=rng)) for _ in range(config.deformed_copies)
        ]
        images = np.concatenate([images, *copies])
        labels = np.tile(labels, config.deformed_copies + 1)
        origins = np.tile(origins, config.deformed_copies + 1)
    return FittingImages(images=images, labels=labels, origins=origins)


def fit_scikit_learn(training: TrainingSet, options: FitOptions) -> ImageEstimator:
    """Fit logistic regression, k-NN or an estimator that `sklearn:` names on flattened pixels in [0, 1].

    The L2 penalty of logistic regression is scaled with the number of images, so that more copies of the same
    images do not weaken it. Other estimators are as their parameters say.

    Raises:
        UsageError: one that fails, or cannot weight by class where the arm does.
    """
    config = options.config
    given = fitting_images(training, options)
    if config.estimator is not None:
        estimator = with_probabilities(
            make_estimator(config, seed=child_seed(options.seed, "estimator")),
            kind=config.kind,
            labels=given.labels,
            origins=given.origins,
        )
    elif config.kind == "knn":
        estimator = KNeighborsClassifier(min(config.neighbours, len(given.labels)))
    else:
        estimator = LogisticRegression(C=100 / len(given.labels), max_iter=config.max_iterations)
    return fit_estimator(estimator, given, training, options, inputs=_pixels)


def fit_estimator(
    estimator: Estimator,
    given: FittingImages,
    training: TrainingSet,
    options: FitOptions,
    *,
    inputs: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]],
) -> ImageEstimator:
    """Fit an estimator on what `inputs` makes of the images.

    Raises:
        UsageError: it fails, or cannot weight by class where the arm does.
    """
    fitted = ImageEstimator(
        estimator=estimator,
        kind=options.config.kind,
        num_classes=training.base.num_classes,
        inputs=inputs,
        randomness=_randomness_of(options),
    )
    started = time.monotonic()
    fitted.fit(given, balance=training.balance)
    rate = len(given.labels) / max(time.monotonic() - started, 1e-9)
    options.on_progress(ClassifierProgress(step=1, num_steps=1, loss=0.0, images_per_second=rate))
    return fitted


def no_loss_to_weight(kind: str) -> UsageError:
    """Return the error for an arm that weights by class and a classifier that cannot."""
    return UsageError(f"{kind} has no loss to weight by class; leave out the arm class-weighted")


def _pixels(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def _unit_images(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return to_unit_range(images).numpy()


def check_classifier(
    config: ClassifierConfig, *, shape: tuple[int, int, int], num_classes: int, weighted: bool
) -> None:
    """Make what the user named once, before anything is trained, so that what is wrong with it shows at once.

    Args:
        shape: (C, H, W) of an image.
        weighted: whether an arm weights by class.

    Raises:
        UsageError: it is not allowed, missing, fails or is no classifier, or cannot weight by class.
    """
    if config.estimator is not None:
        made: object = make_estimator(config, seed=0)
    elif config.factory is not None:
        randomness = GlobalRandomness(0, device="cpu")
        made = make_classifier(config, shape=shape, num_classes=num_classes, randomness=randomness)
    else:
        return
    if weighted and not isinstance(made, nn.Module) and not takes_weights(made):
        raise no_loss_to_weight(config.kind)
