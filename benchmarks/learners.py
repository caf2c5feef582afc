"""Small learning problems whose true gain can be found by brute force: normal classes, quick classifiers.

The "augmentation" adds to the training set as many samples of a normal distribution that was fitted to each class,
with independent features: a generator that has nothing to tell.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from evaluation.image_values import ImageValues

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Labelled = tuple[FloatArray, IntArray]
Classify = Callable[[FloatArray, IntArray, FloatArray], IntArray]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Normal classes with unit variance around random centres."""

    num_classes: int = 5
    dimensions: int = 20
    separation: float = 0.5

    @property
    def centres(self) -> FloatArray:
        """(num_classes, dimensions)."""
        return np.random.default_rng(5).normal(scale=self.separation, size=(self.num_classes, self.dimensions))

    def sample(self, rng: np.random.Generator, number: int) -> Labelled:
        """Return features and labels of a stratified sample."""
        labels = (np.arange(number) % self.num_classes).astype(np.int64)
        return self.centres[labels] + rng.normal(size=(number, self.dimensions)), labels


def ridge(features: FloatArray, labels: IntArray, test: FloatArray) -> IntArray:
    """Classify by regression on the classes' indicators."""
    design = np.column_stack([features, np.ones(len(features))])
    indicators = np.eye(int(labels.max()) + 1)[labels]
    weights = np.linalg.solve(design.T @ design + np.eye(design.shape[1]), design.T @ indicators)
    answers: IntArray = (np.column_stack([test, np.ones(len(test))]) @ weights).argmax(1)
    return answers


def nearest_centroid(features: FloatArray, labels: IntArray, test: FloatArray) -> IntArray:
    """Classify by the nearest class mean."""
    means = np.stack([features[labels == label].mean(0) for label in range(int(labels.max()) + 1)])
    answers: IntArray = (test @ means.T - (means**2).sum(1) / 2).argmax(1)
    return answers


def nearest_neighbour(features: FloatArray, labels: IntArray, test: FloatArray) -> IntArray:
    """Classify as the nearest training image."""
    answers: IntArray = labels[((features**2).sum(1) - 2 * test @ features.T).argmin(1)]
    return answers


def logistic_regression(features: FloatArray, labels: IntArray, test: FloatArray) -> IntArray:
    """Classify by scikit-learn's logistic regression."""
    answers: IntArray = LogisticRegression(max_iter=200).fit(features, labels).predict(test)
    return answers


CLASSIFIERS: Mapping[str, Classify] = {
    "ridge": ridge,
    "nearest centroid": nearest_centroid,
    "nearest neighbour": nearest_neighbour,
    "logistic regression": logistic_regression,
}


def gain_on(
    rng: np.random.Generator,
    classify: Classify,
    training: tuple[FloatArray, IntArray],
    test: tuple[FloatArray, IntArray],
) -> FloatArray:
    """Return 1, 0 or -1 for each test image: with the generator's samples, less without."""
    features, labels = training
    added, added_labels = _samples(rng, features, labels)
    without = classify(features, labels, test[0]) == test[1]
    augmented = classify(np.concatenate([features, added]), np.concatenate([labels, added_labels]), test[0]) == test[1]
    gain: FloatArray = augmented.astype(np.float64) - without
    return gain


def true_gain(
    rng: np.random.Generator, classify: Classify, *, problem: Problem, number: int, data_sets: int = 1500
) -> float:
    """Return the mean gain over independent training sets of a size, on fresh test images."""
    gains = [
        gain_on(rng, classify, problem.sample(rng, number), problem.sample(rng, 1000)).mean() for _ in range(data_sets)
    ]
    return float(np.mean(gains))


def cross_validated(
    rng: np.random.Generator, classify: Classify, data: Labelled, *, num_folds: int, repeats: int
) -> tuple[ImageValues, IntArray]:
    """Return the gains of repeated stratified K-fold on one data set, (J, 1, P), and the folds, (J, P)."""
    features, labels = data
    values = np.empty((repeats, 1, len(labels)))
    folds = np.empty((repeats, len(labels)), np.int64)
    for repeat in range(repeats):
        splitter = StratifiedKFold(num_folds, shuffle=True, random_state=int(rng.integers(2**31)))
        for fold, (train, test) in enumerate(splitter.split(features, labels)):
            folds[repeat, test] = fold
            training, tested = (features[train], labels[train]), (features[test], labels[test])
            values[repeat, 0, test] = gain_on(rng, classify, training, tested)
    return ImageValues(values=values), folds


def _samples(rng: np.random.Generator, features: FloatArray, labels: IntArray) -> Labelled:
    added = np.empty_like(features)
    for label in np.unique(labels):
        members = features[labels == label]
        added[labels == label] = members.mean(0) + members.std(0) * rng.normal(size=members.shape)
    return added, labels
