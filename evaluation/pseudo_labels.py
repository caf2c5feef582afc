"""The arm `pseudo-labels`: a classifier of the labelled images labels others, and is trained anew on both.

Self-training (Lee 2013, "Pseudo-Label"), in rounds: each one's classifier labels the images for the next. It begins
with the cell's *subset* alone. Labels that the classifier is not sure of are left out.
"""

from dataclasses import replace

import numpy as np

from data.base.randomness import child_seed
from data.images import LabelledImages
from data.unlabelled import UnlabelledImages
from evaluation.classifiers import fit_classifier
from evaluation.config import PseudoLabelsConfig
from evaluation.filtering import confident
from evaluation.fitting import Classifier, FitOptions
from evaluation.training_set import TrainingSet


def self_trained(
    unlabelled: UnlabelledImages, training: TrainingSet, *, config: PseudoLabelsConfig, options: FitOptions
) -> LabelledImages:
    """Return those of the images whose labels the last round's classifier is sure of, so labelled.

    Args:
        training: what the first round trains on: the subset, classically augmented.
        options: of each fit; every round has its own seed below the one in them.
    """
    found = None
    for number in range(config.rounds):
        own = replace(options, seed=child_seed(options.seed, "pseudo-labels", number))
        classifier = fit_classifier(replace(training, added=found), own)
        found = labelled_by(classifier, unlabelled, class_names=training.base.class_names, threshold=config.threshold)
    assert found is not None
    return found


def labelled_by(
    classifier: Classifier, unlabelled: UnlabelledImages, *, class_names: tuple[str, ...], threshold: float
) -> LabelledImages:
    """Return the images that the classifier gives a class with at least `threshold`, with that class.

    The most confident image of every class that it gives at all stays in any case.
    """
    probabilities = classifier.predict_probabilities(unlabelled.images)
    labels = probabilities.argmax(1).astype(np.int64)
    kept = np.flatnonzero(confident(probabilities, labels, threshold=threshold))
    return LabelledImages(
        images=unlabelled.images[kept], labels=labels[kept], rows=unlabelled.rows[kept], class_names=class_names
    )
