import numpy as np
import pytest

from data.base.device import Compute
from data.base.errors import UsageError
from data.sources.digits import load_sklearn_digits
from data.sources.source import Source
from evaluation.audit import HONEST, GivenSamples, divide, run_audit
from evaluation.config import FeaturesConfig, SamplesConfig
from evaluation.features import feature_network


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    source = load_sklearn_digits()
    compute = Compute(device="cpu", precision="float32")
    config = SamplesConfig(kid_subsets=2, features=FeaturesConfig(members=2, steps=200, width=8))
    network = feature_network(
        source.train, tmp_path_factory.mktemp("c"), config=config.features, compute=compute, on_progress=lambda it: None
    )
    real, _ = divide(source, seed=0)
    given = GivenSamples(name="given", synthetic=real.subset, subset=real.subset)
    return run_audit(source, network=network, config=config, seed=0, on_progress=lambda it: None, given=given)


def test_every_planted_cheat_is_caught_by_the_check_meant_for_it(report):
    missed = [trial.generator for trial in report.trials if trial.expected and not trial.as_expected]
    assert missed == []


def test_honest_generator_passes_every_check(report):
    honest = next(trial for trial in report.trials if trial.generator == HONEST)
    assert honest.flagged_by == ()
    assert all(check.passed for check in honest.checks)


def test_given_samples_that_copy_are_flagged(report):
    assert "no copies of training images" in report.trials[-1].flagged_by
    assert not report.passed


def test_parts_of_the_division_share_no_image():
    source = load_sklearn_digits()
    real, held_out = divide(source, seed=0)
    assert not set(held_out.rows) & set(real.train.rows)
    assert set(real.subset.rows) <= set(real.train.rows)


def test_too_few_images_are_refused(striped):
    with pytest.raises(UsageError, match="needs 40 train images of every class"):
        divide(Source(name="tiny", train=striped, test=striped.take(np.arange(6))), seed=0)
