"""Self-training: labels come from classifiers alone, and only those that these are sure of."""

import numpy as np
import pytest

from data.base.device import Compute
from data.unlabelled import rest_of_pool
from evaluation import pseudo_labels
from evaluation.config import ClassifierConfig, PseudoLabelsConfig
from evaluation.fitting import FitOptions
from evaluation.pseudo_labels import labelled_by, self_trained
from evaluation.training_set import TrainingSet

NAMES = ("rows", "columns", "none")
OPTIONS = FitOptions(
    config=ClassifierConfig(steps=60, batch_size=16, width=4),
    added_shares=(0.5, 0.0),
    seed=0,
    compute=Compute(device="cpu", precision="float32"),
    on_progress=lambda progress: None,
)


class Answers:
    """Gives class 1 to every image, less and less surely."""

    def predict_probabilities(self, images):
        sure = np.linspace(1, 0.5, len(images))
        return np.stack([(1 - sure) / 2, sure, (1 - sure) / 2], axis=1).astype(np.float32)


@pytest.fixture
def rest(striped):
    return rest_of_pool(striped, striped.take(np.arange(15)))


def test_images_get_the_classifiers_class_where_it_is_sure(rest):
    found = labelled_by(Answers(), rest, class_names=NAMES, threshold=0.75)
    assert set(found.labels) == {1}
    assert found.rows.tolist() == rest.rows[: len(found)].tolist()
    assert len(found) == pytest.approx(len(rest) / 2, abs=1)


def test_the_surest_image_stays_in_any_case(rest):
    assert labelled_by(Answers(), rest.take(np.arange(30, 45)), class_names=NAMES, threshold=0.9999).rows[0] == 45


def test_each_round_trains_on_what_the_last_one_labelled(striped, rest, monkeypatch):
    seen = []

    def fit(training, options):
        seen.append((training.added, options.seed))
        return Answers()

    monkeypatch.setattr(pseudo_labels, "fit_classifier", fit)
    subset = TrainingSet(base=striped.take(np.arange(15)), added=None, policy=None)
    self_trained(rest, subset, config=PseudoLabelsConfig(rounds=3, threshold=0.75), options=OPTIONS)
    assert [added is None for added, _ in seen] == [True, False, False]
    assert set(seen[1][0].labels) == {1}
    assert len({seed for _, seed in seen}) == 3


def test_stripes_are_labelled_rightly(striped, rest):
    subset = TrainingSet(base=striped.take(np.arange(15)), added=None, policy=None)
    found = self_trained(rest, subset, config=PseudoLabelsConfig(threshold=0.5), options=OPTIONS)
    assert (found.labels == striped.labels[found.rows]).mean() > 0.9
    assert len(found) > 30
