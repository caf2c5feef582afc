"""The arm `real+classical+filtered`: keep the synthetic images whose labels an ensemble believes.

Rule: the ensemble trains on the cell's *subset* alone, with the classical augmentation, never on more real images.
A filter that had seen all of train would hand its knowledge to the arm, and the gain would not be the GAN's.
The threshold is fixed in the configuration; the effect on the gain is measured like that of any other arm.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from data.base.randomness import child_seed
from data.images import LabelledImages
from evaluation.classifiers import fit_classifier
from evaluation.config import FilterConfig
from evaluation.fitting import FitOptions
from evaluation.training_set import TrainingSet


def confident_samples(
    synthetic: LabelledImages, training: TrainingSet, *, config: FilterConfig, options: FitOptions
) -> LabelledImages:
    """Return the synthetic images that an ensemble of classifiers finds rightly labelled.

    Args:
        training: what the ensemble trains on: the subset, classically augmented.
        options: of each fit; every member has its own seed below the one in them.
    """
    members = [
        fit_classifier(training, replace(options, seed=child_seed(options.seed, "filter", index)))
        for index in range(config.members)
    ]
    judged = np.mean([member.predict_probabilities(synthetic.images) for member in members], axis=0)
    return synthetic.take(np.flatnonzero(confident(judged, synthetic.labels, threshold=config.threshold)))


def confident(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], *, threshold: float
) -> npt.NDArray[np.bool_]:
    """Return which images (N,) have at least `threshold` on their own label.

    The most confident image of every class stays in any case, so that no class vanishes from a training set.
    """
    own = probabilities[np.arange(len(labels)), labels]
    keep: npt.NDArray[np.bool_] = own >= threshold
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        keep[members[own[members].argmax()]] = True
    return keep
