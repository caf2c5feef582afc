"""Classifiers that others wrote, made by their names: torchvision's ResNet-18, scikit-learn's estimators, the user's own.

Every network's forward pass maps images, (B, C, H, W) float32 in [-1, 1], to logits, (B, num_classes). What a user's
code does wrong is one line that names it (`in_one_line`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from importlib import import_module
from inspect import isclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import PredefinedSplit
from sklearn.utils.validation import has_fit_parameter
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
        raise UsageError(f"the classifier {config.kind} is a {type(factory).__name__}; name a function that makes one")
    channels, height, width = shape
    with in_one_line(config.kind, "its factory"):
        made = factory(channels, num_classes, (height, width), **config.parameters)
    if isclass(made) or not isinstance(made, nn.Module | Estimator):
        what = f"the class {made.__name__}" if isclass(made) else f"a {type(made).__name__}"
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


# --- estimators ---


def make_estimator(config: ClassifierConfig, *, seed: int) -> Any:
    """Make the estimator that `sklearn:` names.

    Raises:
        UsageError: there is no such estimator, it is not allowed, is no classifier, or does not take the parameters.
    """
    reference = cast(str, config.estimator)
    if config.named_code is not None:
        made_by = load_named(reference, what="classifier")
    else:
        made_by = _of_scikit_learn(reference)
    if not isclass(made_by):
        raise UsageError(f"the classifier {config.kind} is a {type(made_by).__name__}; name an estimator's class")
    with in_one_line(config.kind, f"{made_by.__name__} with these parameters"):
        estimator = made_by(**config.parameters)
        classifies = is_classifier(estimator)
    if not classifies:
        raise UsageError(f"{config.kind} is no classifier; name one, such as sklearn:sklearn.svm.SVC")
    if "random_state" in config.parameters:
        raise UsageError(
            "evaluation.classifier.parameters.random_state: leave it out, the study gives each seed its own"
        )
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=seed % 2**32)
    return estimator


def _of_scikit_learn(reference: str) -> object:
    module, _, name = reference.partition(":")
    try:
        found = import_module(module)
    except ImportError as error:
        raise UsageError(f"scikit-learn has no {module}; write for example sklearn:sklearn.svm.SVC") from error
    if not hasattr(found, name):
        close = get_close_matches(name, dir(found), n=1)
        hint = f"; did you mean sklearn:{module}.{close[0]}?" if close else ""
        raise UsageError(f"scikit-learn's {module} has no {name}{hint}")
    return getattr(found, name)


def takes_weights(estimator: Estimator) -> bool:
    """Tell whether `fit` takes `sample_weight`."""
    return bool(has_fit_parameter(estimator, "sample_weight"))


def with_probabilities(
    estimator: Any, *, kind: str, labels: npt.NDArray[np.int64], origins: npt.NDArray[np.int64]
) -> Estimator:
    """Return an estimator with `predict_proba`: itself, or its decisions calibrated (Platt 1999) by cross-validation.

    Args:
        labels: (N,) of the images that it is to be fitted to.
        origins: (N,) int64, which image each of them is, or is a copy of: copies never cross a fold.

    Raises:
        UsageError: it has neither probabilities nor decisions, or a class has too few images.
    """
    if hasattr(estimator, "predict_proba"):
        return cast(Estimator, estimator)
    if not hasattr(estimator, "decision_function"):
        raise UsageError(f"{kind} has neither predict_proba nor decision_function; choose another classifier")
    originals, first = np.unique(origins, return_index=True)
    fewest = int(np.unique(labels[first], return_counts=True)[1].min())
    if fewest < 2:
        raise UsageError(
            f"{kind} has no predict_proba, and to calibrate its decisions takes 2 images of every class; "
            "choose another classifier"
        )
    folds = _folds(labels[first], min(CALIBRATION_FOLDS, fewest))
    split = PredefinedSplit(folds[np.searchsorted(originals, origins)])
    return cast(Estimator, CalibratedClassifierCV(estimator, method="sigmoid", ensemble=False, cv=split))


def _folds(labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return a fold (N,) for each image, the images of each class in turn."""
    folds = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        folds[members] = np.arange(len(members)) % count
    return folds


def checked_probabilities(
    given: object, *, num_images: int, classes: Sequence[int], num_classes: int, kind: str
) -> npt.NDArray[np.float32]:
    """Return what an estimator's `predict_proba` gave as (N, num_classes) float32.

    Args:
        classes: the class of each column.

    Raises:
        UsageError: of another shape, or no probabilities.
    """
    with in_one_line(kind, "reading its predict_proba"):
        found = np.asarray(given, np.float64)
    wanted = (num_images, len(classes))
    if found.shape != wanted:
        raise UsageError(
            f"the classifier {kind}: its predict_proba gives an array {found.shape}; it must give {wanted}"
        )
    if not np.isfinite(found).all():
        raise UsageError(f"the classifier {kind}: its predict_proba gives NaN or infinity")
    if (found < -SUM_TOLERANCE).any() or (np.abs(found.sum(1) - 1) > SUM_TOLERANCE).any():
        raise UsageError(
            f"the classifier {kind}: its predict_proba gives rows that are no probabilities adding up to 1"
        )
    probabilities = np.zeros((num_images, num_classes), np.float32)
    probabilities[:, classes] = found
    return probabilities


def classes_of(estimator: Estimator, *, num_classes: int, kind: str) -> list[int]:
    """Return the class of each column that `predict_proba` gives: `classes_` where there are some, else all.

    Raises:
        UsageError: they are no classes of the data.
    """
    given = getattr(estimator, "classes_", None)
    if given is None:
        return list(range(num_classes))
    with in_one_line(kind, "reading its classes_"):
        classes = [int(label) for label in given]
    if len(set(classes)) != len(classes) or not set(classes) <= set(range(num_classes)):
        raise UsageError(f"the classifier {kind}: its classes_ are {classes}; the labels are 0 to {num_classes - 1}")
    return classes
