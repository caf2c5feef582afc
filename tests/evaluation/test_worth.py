import itertools

import numpy as np
import pytest

from evaluation.image_values import ImageValues
from evaluation.intervals import FreshDraws, Unavailable
from evaluation.worth import best_seeds, worth_in_labels

FACTORS = 1.25, 1.5, 2.0


def curve(gains, *, replicates=20, sd=0.002, seed=0):
    """Values (R, 1, 10) with these means for the gain and for 1.25, 1.5 and 2 times as many images."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(len(gains), replicates))
    noise = sd * (noise - noise.mean(1, keepdims=True))
    means = np.array(gains)[:, None] + noise
    values = [ImageValues(values=np.tile(one[:, None, None], 10), unit=0.0) for one in means]
    return values[0], dict(zip(FACTORS, values[1:], strict=True))


def worth(gains, **options):
    gain, more = curve(gains, **options)
    return worth_in_labels(gain, more, design=FreshDraws(), level=0.95, per_class=10)


def test_a_gain_as_of_half_as_many_images_again_is_worth_these():
    found = worth([0.02, 0.01, 0.02, 0.03])
    assert found.images == pytest.approx(5)
    assert found.low < 5 < found.high
    assert found.most == 10


def test_between_what_was_tried_the_curve_runs_in_the_logarithm():
    # halfway from 1.5 to 2 times as many in the logarithm: 10 (sqrt(3) - 1)
    assert worth([0.025, 0.01, 0.02, 0.03]).images == pytest.approx(10 * (np.sqrt(3) - 1))


def test_a_gain_beyond_twice_as_many_is_open_ended():
    found = worth([0.05, 0.01, 0.02, 0.03])
    assert (found.images, found.low, found.high) == (None, 10, None)


def test_a_gain_as_of_twice_as_many_is_open_above():
    found = worth([0.0295, 0.01, 0.02, 0.03])
    assert found.images == pytest.approx(10, rel=0.05)
    assert found.low > 5
    assert found.high is None


def test_a_loss_is_worth_nothing():
    found = worth([-0.02, 0.01, 0.02, 0.03])
    assert (found.images, found.low, found.high) == (0, 0, 0)


def test_a_gain_that_may_be_none_begins_at_no_image():
    found = worth([0.0002, 0.01, 0.02, 0.03])
    assert found.low == 0
    assert 0 < found.high < 2.5


def test_where_more_images_bring_nothing_the_worth_is_open():
    found = worth([0.0, 0.0, 0.0, 0.0])
    assert (found.low, found.high) == (0, None)


def test_estimate_lies_within_its_interval_though_the_curve_falls():
    found = worth([0.02, 0.03, 0.01, 0.03])
    assert found.low <= found.images <= (found.high or found.most)


def test_one_replicate_has_no_worth():
    assert isinstance(worth([0.02, 0.01, 0.02, 0.03], replicates=1), Unavailable)


def test_interval_covers_the_true_worth_in_95_percent_of_studies():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(150):
        level = rng.normal(0, 0.004, (4, 6, 1, 1))
        level[1:] += rng.normal(0, 0.003, (1, 6, 1, 1))  # more images of one draw share its luck
        means = np.array([0.02, 0.01, 0.02, 0.03])[:, None, None, None]
        gain, *more = (ImageValues(values=np.tile(one, 10), unit=0.0) for one in means + level)
        found = worth_in_labels(
            gain, dict(zip(FACTORS, more, strict=True)), design=FreshDraws(), level=0.95, per_class=10
        )
        covered.append(found.low <= 5 <= (found.high or np.inf))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.05)  # Monte-Carlo error 1.8 points


def cost(seeds, draw, seed, replicate_seconds, seed_seconds):
    return (draw + seed / seeds) * (replicate_seconds + seeds * seed_seconds)


@pytest.mark.parametrize(
    ("draw", "seed", "replicate_seconds", "seed_seconds"),
    [*itertools.product([0.0, 0.05, 0.16, 1.0], [0.0, 0.1, 0.46], [0.0, 5.0, 80.0], [1.0, 30.0])],
)
def test_best_number_of_seeds_is_that_of_brute_force(draw, seed, replicate_seconds, seed_seconds):
    found = best_seeds(draw, seed, replicate_seconds=replicate_seconds, seed_seconds=seed_seconds)
    given = (draw, seed, replicate_seconds, seed_seconds)
    assert cost(found, *given) == pytest.approx(min(cost(seeds, *given) for seeds in range(1, 17)))


def test_three_seeds_are_best_with_the_variances_and_costs_measured():
    # GAN 80 s, two classifiers of 15 s each; SD 0.40 between draws, 0.68 between seeds
    assert best_seeds(0.40**2, 0.68**2, replicate_seconds=80, seed_seconds=30) == 3
