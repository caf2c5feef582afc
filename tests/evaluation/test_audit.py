import numpy as np
import pytest

from data.base.device import Compute
from data.base.errors import UsageError
from data.sources.digits import load_sklearn_digits
from data.sources.source import Source
from evaluation.audit import GivenSamples, divide, run_audit
from evaluation.config import FeaturesConfig, SamplesConfig
from evaluation.features import feature_network
from evaluation.plants import failing_plants


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    source = load_sklearn_digits()
    compute = Compute(device="cpu", precision="float32")
    config = SamplesConfig(features=FeaturesConfig(members=2, steps=200, width=8))
    network = feature_network(
        source.train, tmp_path_factory.mktemp("c"), config=config.features, compute=compute, on_progress=lambda it: None
    )
    divided = divide(source, seed=0)
    subset = divided.real.subset
    given = GivenSamples(name="given", synthetic=subset, subset=subset)
    return run_audit(divided, network=network, config=config, seed=0, on_progress=lambda it: None, given=given)


def test_every_planted_cheat_is_caught_by_the_checks_meant_for_it(report):
    missed = [trial.generator for trial in report.trials if trial.expected and not trial.as_expected]
    assert missed == []


def test_honest_generators_are_not_said_to_have_seen_more(report):
    honest = [trial for trial in report.trials[:-1] if not trial.expected]
    assert len(honest) == 2
    assert all(trial.as_expected for trial in honest)


def test_nothing_passes_that_its_own_test_rejects(report):
    rejected = [
        check for trial in report.trials for check in trial.checks if check.p_value is not None and check.p_value < 1e-6
    ]
    assert rejected
    assert "passed" not in {check.grade for check in rejected}


def test_given_samples_that_copy_are_flagged(report):
    assert "no copies of training images" in report.trials[-1].flagged_by
    assert not report.passed


def test_parts_of_the_division_share_no_image():
    divided = divide(load_sklearn_digits(), seed=0)
    assert not set(divided.unused.rows) & set(divided.real.train.rows)
    assert set(divided.real.subset.rows) <= set(divided.real.train.rows)


def test_wrong_labels_are_planted_among_images_that_the_instrument_has_not_seen(striped):
    unjudged = striped.take(np.arange(0, 60, 2))
    plants = failing_plants(striped, unjudged=unjudged, rng=np.random.default_rng(0))
    wrong = next(plant.samples for plant in plants if plant.generator == "a fifth of labels wrong")
    assert np.array_equal(wrong.images, unjudged.images)
    assert (wrong.labels != unjudged.labels).sum() == len(unjudged) // 5


def test_too_few_images_are_refused(striped):
    with pytest.raises(UsageError, match="needs 40 train images of every class"):
        divide(Source(name="tiny", train=striped, test=striped.take(np.arange(6))), seed=0)
