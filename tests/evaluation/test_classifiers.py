import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.base.device import Compute
from data.base.errors import AugmentError, UsageError
from data.config import DeformationConfig
from data.policies import NATURAL, Views
from evaluation.classifiers import fit_classifier
from evaluation.config import ClassifierConfig
from evaluation.estimators import fit_scikit_learn
from evaluation.fitting import FitOptions
from evaluation.networks import DRAWN_AHEAD, balanced_weights, classification_loss, with_changes
from evaluation.training_set import TrainingSet

DIGITS = Views(deformation=DeformationConfig())
KINDS = ["convnet", "logistic_regression", "knn"]


def options(kind="convnet", seed=0, on_progress=lambda progress: None, **changes):
    return FitOptions(
        config=ClassifierConfig(kind=kind, steps=80, batch_size=16, width=4, deformed_copies=2, **changes),
        added_shares=(0.5, 0.5),
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
    classifier = fit_classifier(TrainingSet(base=train, added=None, policy=None), options(kind))
    probabilities = classifier.predict_probabilities(test.images)
    assert (probabilities.argmax(1) == test.labels).mean() >= 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_float32_and_sum_to_one(halves, kind):
    train, test = halves
    training = TrainingSet(base=train, added=test, policy=DIGITS)
    probabilities = fit_classifier(training, options(kind)).predict_probabilities(test.images)
    assert (probabilities.shape, probabilities.dtype) == ((30, 3), np.float32)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_gives_the_same_probabilities(halves, kind):
    train, test = halves
    training = TrainingSet(base=train, added=None, policy=DIGITS)
    first, second = (fit_classifier(training, options(kind)).predict_probabilities(test.images) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_added_images_that_fade_out_leave_real_ones_the_last_word(halves):
    train, test = halves
    mislabelled = replace(train, labels=(train.labels + 1) % train.num_classes)
    training = TrainingSet(base=train, added=mislabelled, policy=None)

    def accuracy(first, last):
        classifier = fit_classifier(training, replace(options(), added_shares=(first, last)))
        return (classifier.predict_probabilities(test.images).argmax(1) == test.labels).mean()

    assert accuracy(1.0, 0.0) > 0.8
    assert accuracy(0.0, 1.0) < 0.2


def test_other_seed_gives_other_probabilities(halves):
    train, test = halves
    training = TrainingSet(base=train, added=None, policy=None)
    first, second = (fit_classifier(training, options(seed=seed)).predict_probabilities(test.images) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_prediction_does_not_depend_on_the_batch(halves):
    train, test = halves
    classifier = fit_classifier(TrainingSet(base=train, added=None, policy=None), options())
    alone = np.concatenate([classifier.predict_probabilities(test.images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, classifier.predict_probabilities(test.images)[:5], atol=1e-5)


def test_class_missing_from_training_gets_probability_zero(halves):
    train, test = halves
    without = train.take(np.flatnonzero(train.labels != 1))
    fitted = fit_scikit_learn(TrainingSet(base=without, added=None, policy=None), options("logistic_regression"))
    assert (fitted.predict_probabilities(test.images)[:, 1] == 0).all()


def test_more_neighbours_than_images_are_cut(halves):
    train, test = halves
    few = train.take(np.arange(3))
    fitted = fit_scikit_learn(TrainingSet(base=few, added=None, policy=None), options("knn", neighbours=5))
    np.testing.assert_allclose(fitted.predict_probabilities(test.images), 1 / 3, atol=1e-6)


def test_duplicated_images_do_not_change_logistic_regression(halves):
    train, test = halves
    once = fit_classifier(TrainingSet(base=train, added=None, policy=None), options("logistic_regression"))
    twice = fit_classifier(TrainingSet(base=train, added=train, policy=None), options("logistic_regression"))
    np.testing.assert_allclose(
        once.predict_probabilities(test.images), twice.predict_probabilities(test.images), atol=1e-2
    )


def test_added_images_are_learnt_from(halves):
    train, test = halves
    mislabelled = replace(train, labels=(train.labels + 1) % 3)
    honest = fit_classifier(TrainingSet(base=train, added=None, policy=None), options())
    misled = fit_classifier(TrainingSet(base=train, added=mislabelled, policy=None), options())
    own = np.arange(len(test)), test.labels
    assert misled.predict_probabilities(test.images)[own].mean() < honest.predict_probabilities(test.images)[own].mean()


@pytest.fixture
def tailed(striped):
    """Faint stripes: 40 images of one class, 4 of another; and 20 unseen ones of each."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (84, 1, 8, 8), dtype=np.uint8)
    labels = np.array([0] * 40 + [1] * 4 + [0] * 20 + [1] * 20, np.int64)
    images[labels == 1, :, ::2] //= 4
    images[labels == 1, :, ::2] *= 3
    both = replace(striped, images=images, labels=labels, rows=np.arange(84), class_names=("noise", "stripes"))
    return both.take(np.arange(44)), both.take(np.arange(44, 84))


@pytest.mark.parametrize("kind", ["convnet", "logistic_regression"])
@pytest.mark.parametrize("balance", ["batches", "loss"])
def test_balancing_raises_the_rare_class(tailed, kind, balance):
    train, test = tailed
    rare = test.labels == 1
    probabilities = [
        fit_classifier(TrainingSet(base=train, added=None, policy=DIGITS, balance=way), options(kind))
        .predict_probabilities(test.images)[rare, 1]
        .mean()
        for way in ("none", balance)
    ]
    assert probabilities[1] > probabilities[0]


def test_weighting_balanced_classes_changes_nothing(halves):
    train, test = halves
    plain, weighted = (
        fit_classifier(TrainingSet(base=train, added=None, policy=None, balance=balance), options())
        for balance in ("none", "loss")
    )
    np.testing.assert_allclose(
        plain.predict_probabilities(test.images), weighted.predict_probabilities(test.images), atol=1e-4
    )


def test_neighbours_refuse_a_weighted_loss(halves):
    training = TrainingSet(base=halves[0], added=None, policy=None, balance="loss")
    with pytest.raises(UsageError, match="knn has no loss"):
        fit_classifier(training, options("knn"))


def test_balanced_weights_are_inverse_frequencies_with_mean_one():
    labels = np.array([0] * 6 + [2] * 2)
    weights = balanced_weights(labels, num_classes=3)
    assert weights.tolist() == pytest.approx([8 / 12, 0, 2])
    assert weights[labels].mean() == pytest.approx(1)


def test_weighted_loss_is_analytic():
    logits, labels = torch.zeros(2, 2), torch.tensor([0, 1])
    weights = torch.tensor([0.5, 3.0])
    loss = classification_loss(logits, labels, label_smoothing=0.0, class_weights=weights)
    assert float(loss) == pytest.approx(1.75 * math.log(2))


@pytest.mark.parametrize("balance", ["none", "batches", "loss"])
def test_every_way_of_balancing_takes_the_same_steps(tailed, balance):
    seen = []
    training = TrainingSet(base=tailed[0], added=None, policy=DIGITS, balance=balance)
    fit_classifier(training, options(on_progress=seen.append))
    assert [progress.step for progress in seen] == [50, 80]


def test_progress_ends_with_the_last_step(halves):
    seen = []
    fit_classifier(TrainingSet(base=halves[0], added=None, policy=None), options(on_progress=seen.append))
    assert (seen[-1].step, seen[-1].num_steps) == (80, 80)


def test_divergence_is_told(halves):
    training = TrainingSet(base=halves[0], added=None, policy=None)
    with pytest.raises(AugmentError, match="diverged"):
        fit_classifier(training, options(learning_rate=1e30))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("policy", [None, DIGITS, NATURAL])
def test_a_gpu_trains_the_same_classifier(striped, policy):
    training = TrainingSet(base=striped, added=striped, policy=policy)
    answers = [
        fit_classifier(
            training, replace(options(), compute=Compute(device=device, precision="float32"))
        ).predict_probabilities(striped.images)
        for device in ("cpu", "cuda")
    ]
    assert np.abs(answers[0] - answers[1]).mean() < 0.05


def test_each_batch_gets_what_the_policy_drew_for_its_own_images():
    class Same:
        def draw(self, pixels, rng):
            return torch.from_numpy(pixels[:, 0, 0, 0].astype(np.int64))

        def apply(self, images, drawn):
            return images

    pixels = np.arange(200, dtype=np.uint8)[:, None, None, None]
    batches = list(torch.randperm(200, generator=torch.Generator().manual_seed(0)).split(7))
    found = list(with_changes(iter(batches), pixels, policy=Same(), rng=torch.Generator()))
    assert len(found) == len(batches) > DRAWN_AHEAD
    assert all(torch.equal(rows, mine) for (rows, _), mine in zip(found, batches, strict=True))
    assert all(torch.equal(rows, changes) for rows, (changes,) in found)
