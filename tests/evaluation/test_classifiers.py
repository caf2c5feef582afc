from dataclasses import replace

import numpy as np
import pytest

from data.augmentation import DeformationConfig
from data.device import Compute
from data.errors import AugmentError
from evaluation.arms import TrainingSet
from evaluation.classifiers import FitOptions, fit_classifier, fit_scikit_learn
from evaluation.config import ClassifierConfig

KINDS = ["convnet", "logistic_regression", "knn"]


def options(kind="convnet", seed=0, on_progress=lambda progress: None, **changes):
    return FitOptions(
        config=ClassifierConfig(kind=kind, steps=40, batch_size=16, width=4, deformed_copies=2, **changes),
        added_share=0.5,
        seed=seed,
        compute=Compute(device="cpu", precision="float32"),
        on_progress=on_progress,
    )


@pytest.fixture
def halves(striped):
    return striped.take(np.arange(30)), striped.take(np.arange(30, 60))


@pytest.mark.parametrize("kind", KINDS)
def test_stripes_are_learnt(halves, kind):
    train, test = halves
    classifier = fit_classifier(TrainingSet(base=train, added=None, deformation=None), options(kind))
    probabilities = classifier.predict_probabilities(test.images)
    assert (probabilities.argmax(1) == test.labels).mean() >= 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_float32_and_sum_to_one(halves, kind):
    train, test = halves
    training = TrainingSet(base=train, added=test, deformation=DeformationConfig())
    probabilities = fit_classifier(training, options(kind)).predict_probabilities(test.images)
    assert (probabilities.shape, probabilities.dtype) == ((30, 3), np.float32)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_gives_the_same_probabilities(halves, kind):
    train, test = halves
    training = TrainingSet(base=train, added=None, deformation=DeformationConfig())
    first, second = (fit_classifier(training, options(kind)).predict_probabilities(test.images) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_other_seed_gives_other_probabilities(halves):
    train, test = halves
    training = TrainingSet(base=train, added=None, deformation=None)
    first, second = (fit_classifier(training, options(seed=seed)).predict_probabilities(test.images) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_prediction_does_not_depend_on_the_batch(halves):
    train, test = halves
    classifier = fit_classifier(TrainingSet(base=train, added=None, deformation=None), options())
    alone = np.concatenate([classifier.predict_probabilities(test.images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, classifier.predict_probabilities(test.images)[:5], atol=1e-5)


def test_class_missing_from_training_gets_probability_zero(halves):
    train, test = halves
    without = train.take(np.flatnonzero(train.labels != 1))
    fitted = fit_scikit_learn(TrainingSet(base=without, added=None, deformation=None), options("logistic_regression"))
    assert (fitted.predict_probabilities(test.images)[:, 1] == 0).all()


def test_more_neighbours_than_images_are_cut(halves):
    train, test = halves
    few = train.take(np.arange(3))
    fitted = fit_scikit_learn(TrainingSet(base=few, added=None, deformation=None), options("knn", neighbours=5))
    np.testing.assert_allclose(fitted.predict_probabilities(test.images), 1 / 3, atol=1e-6)


def test_duplicated_images_do_not_change_logistic_regression(halves):
    train, test = halves
    once = fit_classifier(TrainingSet(base=train, added=None, deformation=None), options("logistic_regression"))
    twice = fit_classifier(TrainingSet(base=train, added=train, deformation=None), options("logistic_regression"))
    np.testing.assert_allclose(
        once.predict_probabilities(test.images), twice.predict_probabilities(test.images), atol=1e-2
    )


def test_added_images_are_learnt_from(halves):
    train, test = halves
    mislabelled = replace(train, labels=(train.labels + 1) % 3)
    honest = fit_classifier(TrainingSet(base=train, added=None, deformation=None), options())
    misled = fit_classifier(TrainingSet(base=train, added=mislabelled, deformation=None), options())
    own = np.arange(len(test)), test.labels
    assert misled.predict_probabilities(test.images)[own].mean() < honest.predict_probabilities(test.images)[own].mean()


def test_progress_ends_with_the_last_step(halves):
    seen = []
    fit_classifier(TrainingSet(base=halves[0], added=None, deformation=None), options(on_progress=seen.append))
    assert (seen[-1].step, seen[-1].num_steps) == (40, 40)


def test_divergence_is_told(halves):
    training = TrainingSet(base=halves[0], added=None, deformation=None)
    with pytest.raises(AugmentError, match="diverged"):
        fit_classifier(training, options(learning_rate=1e30))
