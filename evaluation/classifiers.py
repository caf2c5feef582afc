"""Downstream classifiers behind one interface: networks, scikit-learn's estimators, and what the user names."""

from dataclasses import replace

import torch
from torch import nn

from data.base.errors import UsageError
from data.base.operations import count_operations
from data.base.randomness import GlobalRandomness
from evaluation.config import ClassifierConfig
from evaluation.estimators import fit_object, fit_scikit_learn, make_estimator, no_loss_to_weight, takes_weights
from evaluation.fitting import Classifier, FitOptions
from evaluation.named_classifiers import NamedNetwork, make_classifier
from evaluation.networks import ConvNet, fit_convnet, fit_named_network
from evaluation.training_set import TrainingSet

COUNTED_IMAGES = 2  # of a step whose operations are counted


def fit_classifier(training: TrainingSet, options: FitOptions) -> Classifier:
    """Train the configured kind of classifier on an arm's training set.

    Raises:
        AugmentError: training diverged, or what the user named is not allowed, missing, fails or is no classifier.
        UsageError: what is no network is to be trained for consistency.
    """
    if training.consistency is not None:  # it takes longer
        steps = round(training.consistency.config.longer * options.config.steps)
        options = replace(options, config=options.config.model_copy(update={"steps": steps}))
    config = options.config
    if config.kind == "convnet":
        return fit_convnet(training, options)
    if config.kind in ("logistic_regression", "knn") or config.estimator is not None:
        _check_consistency(training, config)
        return fit_scikit_learn(training, options)
    randomness = options.global_randomness()
    made = make_classifier(
        config, shape=training.base.shape, num_classes=training.base.num_classes, randomness=randomness
    )
    if isinstance(made, NamedNetwork):
        return fit_named_network(made, training, options, randomness)
    _check_consistency(training, config)
    return fit_object(made, training, options)


def _check_consistency(training: TrainingSet, config: ClassifierConfig) -> None:
    if training.consistency is not None:
        raise UsageError(
            f"{config.kind} is no network, and cannot be trained for consistency; leave out the arms of fixmatch"
        )


def classifier_operations(config: ClassifierConfig, *, shape: tuple[int, int, int], num_classes: int) -> int | None:
    """Return how many floating-point operations a training takes on images of `shape` (C, H, W).

    None of an estimator, which takes no steps; 0 where the counter knows nothing that a network does.

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
        return 0
    return config.steps * counted * config.batch_size // COUNTED_IMAGES


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
        made = make_estimator(config, seed=0)
    elif config.factory is not None:
        randomness = GlobalRandomness(0, device="cpu")
        made = make_classifier(config, shape=shape, num_classes=num_classes, randomness=randomness)
    else:
        return
    if weighted and not isinstance(made, nn.Module) and not takes_weights(made):
        raise no_loss_to_weight(config.kind)
