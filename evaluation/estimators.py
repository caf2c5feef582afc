"""Estimators as classifiers: logistic regression, k nearest neighbours, scikit-learn's by name, the user's objects."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from inspect import isclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import has_fit_parameter

from data.base.errors import UsageError
from data.base.plugins import load_named
from data.base.randomness import GlobalRandomness, child_seed, torch_stream
from data.policies import augmented
from data.tensors import to_unit_range
from evaluation.config import ClassifierConfig
from evaluation.fitting import ClassifierProgress, FitOptions, Probabilities
from evaluation.named_classifiers import Estimator, in_one_line
from evaluation.training_set import Balance, TrainingSet, evened_rows

CALIBRATION_FOLDS = 3
SUM_TOLERANCE = 1e-3  # of the probabilities of one image


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
    """What an estimator is fitted to.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
        origins: (N,) int64, the number of the image that each is, or is a copy of.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    origins: npt.NDArray[np.int64]


def fitting_images(training: TrainingSet, options: FitOptions) -> FittingImages:
    """Put base and added images together; classical arms get augmented copies of each image.

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
    if training.policy is not None:
        copies = [augmented(images, policy=training.policy, rng=rng) for _ in range(config.deformed_copies)]
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
    return _fit(estimator, given, training, options, inputs=_pixels)


def fit_object(made: Estimator, training: TrainingSet, options: FitOptions) -> ImageEstimator:
    """Fit the user's own object on images (N, C, H, W) float32 in [-1, 1], as networks get them.

    Raises:
        UsageError: it fails, or cannot weight by class where the arm does.
    """
    return _fit(made, fitting_images(training, options), training, options, inputs=_unit_images)


def _fit(
    estimator: Estimator,
    given: FittingImages,
    training: TrainingSet,
    options: FitOptions,
    *,
    inputs: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]],
) -> ImageEstimator:
    fitted = ImageEstimator(
        estimator=estimator,
        kind=options.config.kind,
        num_classes=training.base.num_classes,
        inputs=inputs,
        randomness=options.global_randomness(),
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


# --- made by name ---


def make_estimator(config: ClassifierConfig, *, seed: int) -> Any:
    """Make the estimator that `sklearn:` names.

    Raises:
        UsageError: there is no such estimator, it is not allowed, is no classifier, or does not take the parameters.
    """
    reference = cast(str, config.estimator)
    own = config.named_code is not None
    made_by = load_named(reference, what="classifier") if own else _of_scikit_learn(reference)
    if not isclass(made_by):
        raise UsageError(f"the classifier {config.kind} is of type {type(made_by).__name__}; name an estimator's class")
    with in_one_line(config.kind, f"{made_by.__name__} with these parameters"):
        estimator: Any = made_by(**config.parameters)
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
