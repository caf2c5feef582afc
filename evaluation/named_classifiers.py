"""Classifiers that others wrote, made by their names: torchvision's ResNet-18, and what the user's own factory returns.

Every network's forward pass maps images, (B, C, H, W) float32 in [-1, 1], to logits, (B, num_classes). What a user's
code does wrong is one line that names it (`in_one_line`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from inspect import isclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from data.base.errors import AugmentError, UsageError, first_line
from data.base.files import digest_file
from data.base.plugins import load_named, source_digest
from data.base.randomness import GlobalRandomness, torch_stream
from evaluation.config import ClassifierConfig

CALIBRATION_FOLDS = 3
SMALL_IMAGE = 64  # pixels a side: up to here ResNet-18 halves nothing before its first block
SUM_TOLERANCE = 1e-3  # of the probabilities of one image


@runtime_checkable
class Estimator(Protocol):
    """An object that fits images and labels and predicts probabilities, as scikit-learn's classifiers do."""

    def fit(self, images: Any, labels: Any) -> Any:
        """Fit images to labels (N,) int64."""

    def predict_proba(self, images: Any) -> Any:
        """Map images to probabilities (N, num_classes)."""


@contextmanager
def in_one_line(kind: str, doing: str) -> Iterator[None]:
    """Turn whatever somebody else's code raises into one line.

    Raises:
        UsageError: the block raised something that was not meant for people.
    """
    try:
        yield
    except AugmentError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"the classifier {kind}: {doing} fails with {type(error).__name__}: {first_line(error)}"
        ) from error


def named_code_digests(config: ClassifierConfig) -> dict[str, str]:
    """Return the digests of the code that the configuration names, and of the files that its parameters name.

    Raises:
        UsageError: there is no such module.
    """
    if config.named_code is None:
        return {}
    digests = {config.named_code: source_digest(config.named_code)}
    if config.factory is not None:  # such as the weights that its network begins with
        paths = [Path(value) for value in config.parameters.values() if isinstance(value, str) and value]
        digests |= {str(path): digest_file(path) for path in paths if path.is_file()}
    return digests


# --- networks ---


class NamedNetwork(nn.Module):
    """Somebody else's network, held to what a classifier here must be: images in, logits of every class out."""

    def __init__(self, network: nn.Module, *, kind: str, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self.kind = kind
        self.num_classes = num_classes

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) in [-1, 1] to logits (B, num_classes).

        Raises:
            UsageError: the network fails, or gives something else.
        """
        with in_one_line(self.kind, "its network's forward pass"):
            logits = self.network(images)
        wanted = (len(images), self.num_classes)
        if not isinstance(logits, Tensor):
            raise UsageError(
                f"the classifier {self.kind}: its network gives a {type(logits).__name__}; it must give a tensor of "
                f"logits {wanted}"
            )
        if tuple(logits.shape) != wanted:
            raise UsageError(
                f"the classifier {self.kind}: its network gives a tensor {tuple(logits.shape)} for "
                f"{self.num_classes} classes; it must give logits {wanted}"
            )
        return logits


def make_classifier(
    config: ClassifierConfig, *, shape: tuple[int, int, int], num_classes: int, randomness: GlobalRandomness
) -> NamedNetwork | Estimator:
    """Make a ResNet-18, or call the user's factory: a network on the CPU, or an object with `fit` and `predict_proba`.

    Args:
        shape: (C, H, W) of an image.
        randomness: what its first weights are drawn from.

    Raises:
        UsageError: the factory is not allowed, missing, fails, or returns something else.
    """
    made: object
    with randomness.lent():
        made = _resnet18(shape, num_classes) if config.factory is None else _call_factory(config, shape, num_classes)
    if not isinstance(made, nn.Module):
        return cast(Estimator, made)
    network = NamedNetwork(made, kind=config.kind, num_classes=num_classes)
    _probe(network, shape, randomness)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UsageError(f"the classifier {config.kind}: its network has no parameter that requires a gradient")
    return network


def _resnet18(shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Make torchvision's ResNet-18 (He et al. 2016, arXiv 1512.03385) for `shape`.

    On small images the first convolution is 3x3 with stride 1, and there is no max-pooling (their section 4.2).
    """
    from torchvision.models import resnet18

    channels, height, width = shape
    network: nn.Module = resnet18(weights=None, num_classes=num_classes)
    small = max(height, width) <= SMALL_IMAGE
    kernel, stride = (3, 1) if small else (7, 2)
    stem = nn.Conv2d(channels, 64, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
    network.conv1 = stem
    if small:
        network.maxpool = nn.Identity()
    return network


def _call_factory(config: ClassifierConfig, shape: tuple[int, int, int], num_classes: int) -> object:
    factory = load_named(cast(str, config.factory), what="classifier")
    if not callable(factory):
        raise UsageError(
            f"the classifier {config.kind} is of type {type(factory).__name__}; name a function that makes one"
        )
    channels, height, width = shape
    with in_one_line(config.kind, "its factory"):
        made = factory(channels, num_classes, (height, width), **config.parameters)
    if isclass(made) or not isinstance(made, nn.Module | Estimator):
        what = f"the class {made.__name__}" if isclass(made) else f"something of type {type(made).__name__}"
        raise UsageError(
            f"the classifier {config.kind}: its factory returns {what}; it must return a torch.nn.Module, or an object "
            "with fit and predict_proba"
        )
    with in_one_line(config.kind, "copying what its factory returns"):
        return deepcopy(made)  # it may share parts with what it returned before, which are trained by now


@torch.no_grad()
def _probe(network: NamedNetwork, shape: tuple[int, int, int], randomness: GlobalRandomness) -> None:
    """Let a network answer on two images of noise: it makes its lazy parameters, and shows early what is wrong."""
    noise = torch.rand(2, *shape, generator=torch_stream(0, "probe")) * 2 - 1
    with randomness.lent():
        logits = network.eval()(noise)
    if not logits.isfinite().all():
        raise UsageError(f"the classifier {network.kind}: its network gives NaN or infinity on images of noise")
