import math

import numpy as np
import pytest

from evaluation.image_values import ImageValues
from evaluation.intervals import FreshDraws, Unavailable
from evaluation.verdicts import NextLook, judge, read_off, regime_alpha

WISHED = 0.005


def gain(mean, sd=0.002, replicates=20, images=20, image_sd=0.0, seed=0):
    """A study whose mean and spread are exactly these."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=replicates)
    values = mean + sd * (noise - noise.mean()) / noise.std(ddof=1)
    by_image = rng.normal(size=images)
    by_image = image_sd * (by_image - by_image.mean()) / by_image.std(ddof=1)
    return FreshDraws().estimate(ImageValues(values=values[:, None, None] + by_image, unit=0.0))


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.001, 0.02), "helps"),
        ((-0.02, -0.001), "hurts"),
        ((-0.004, 0.004), "no gain worth having"),
        ((0.001, 0.004), "no gain worth having"),
        ((-0.004, -0.001), "no gain worth having"),
        ((-0.004, 0.006), "undecided"),
        ((-0.006, 0.004), "undecided"),
        ((0.0, 0.01), "undecided"),
        ((-0.01, 0.0), "undecided"),
    ],
)
def test_verdict_is_read_off_the_interval(interval, verdict):
    assert read_off(*interval, wished_gain=WISHED) == verdict


def test_one_arm_has_its_own_interval():
    estimate = gain(0.01)
    judgement = judge([estimate], alpha=0.05, wished_gain=WISHED)
    assert (judgement.low, judgement.high) == estimate.interval(0.95)
    assert (judgement.verdict, judgement.decided) == ("helps", True)


def test_helping_means_above_every_arm():
    assert judge([gain(0.02), gain(0.01)], alpha=0.05, wished_gain=WISHED).verdict == "helps"
    assert judge([gain(0.02), gain(0.0005, sd=0.01)], alpha=0.05, wished_gain=WISHED).verdict == "undecided"


def test_below_one_arm_hurts_however_bad_the_others_are():
    judgement = judge([gain(0.03), gain(-0.02)], alpha=0.05, wished_gain=WISHED)
    assert (judgement.verdict, judgement.closest, judgement.mean) == ("hurts", 1, pytest.approx(-0.02))


def test_lower_end_pays_nothing_for_more_arms_and_the_upper_end_does():
    estimate = gain(0.01)
    judgement = judge([estimate, gain(0.5), gain(0.5)], alpha=0.05, wished_gain=WISHED)
    assert judgement.low == estimate.interval(0.95)[0]
    assert judgement.high == estimate.interval(1 - 0.05 / 3)[1]


def test_regimes_share_the_error():
    estimate = gain(0.01)
    judgements = [judge([estimate], alpha=regime_alpha(0.05, num_regimes=4), wished_gain=WISHED) for _ in range(4)]
    assert [judgement.low for judgement in judgements] == [estimate.interval(1 - 0.05 / 4)[0]] * 4


def test_no_estimate_is_no_verdict():
    judgement = judge([gain(0.01), Unavailable(reason="too few")], alpha=0.05, wished_gain=WISHED)
    assert (judgement.verdict, judgement.unavailable, judgement.decided) == ("unavailable", "too few", False)


def test_no_arm_to_compare_with_is_no_verdict():
    assert "no arm" in judge([], alpha=0.05, wished_gain=WISHED).unavailable


def test_decided_needs_nothing():
    assert judge([gain(0.01)], alpha=0.05, wished_gain=WISHED).needed is None


def test_replicates_needed_have_a_range_that_carries_the_spread_of_few():
    few, many = (
        judge([gain(0.002, sd=0.01 * math.sqrt(replicates / 5), replicates=replicates)], alpha=0.05, wished_gain=WISHED)
        for replicates in (5, 50)
    )
    assert (few.verdict, many.verdict) == ("undecided", "undecided")
    assert few.needed.bottleneck == "replicates"
    assert few.needed.most / few.needed.fewest > 2 * many.needed.most / many.needed.fewest


def test_as_many_replicates_as_most_says_decide_whatever_the_gain_is():
    undecided = judge([gain(0.0025, sd=0.02, replicates=100)], alpha=0.05, wished_gain=WISHED)
    decided = judge([gain(0.0025, sd=0.02, replicates=undecided.needed.most)], alpha=0.05, wished_gain=WISHED)
    assert decided.verdict != "undecided"
    assert decided.high - decided.low < WISHED


def test_more_replicates_are_said_than_there_are():
    for sd in (0.0031, 0.004, 0.006, 0.02):
        needed = judge([gain(0.0045, sd=sd, replicates=12)], alpha=0.05, wished_gain=WISHED).needed
        assert needed is None or 12 < needed.fewest <= needed.most


def test_replicates_are_enough_for_the_smaller_error_that_later_looks_may_make():
    unsure = [gain(0.0025, sd=0.02, replicates=100)]
    later = NextLook(alpha=0.05 * 0.16, multiple_of=4)
    usual, needed = (judge(unsure, alpha=0.05, wished_gain=WISHED, later=look).needed for look in (None, later))
    assert needed.most > 1.3 * usual.most
    assert (needed.fewest % 4, needed.most % 4) == (0, 0)
    decided = judge([gain(0.0025, sd=0.02, replicates=needed.most)], alpha=later.alpha, wished_gain=WISHED)
    assert decided.verdict != "undecided"


def test_replicates_are_enough_for_every_arm():
    arms = [gain(0.002, sd=0.01, replicates=40), gain(0.004, sd=0.05, replicates=40, seed=1)]
    needed = judge(arms, alpha=0.05, wished_gain=WISHED).needed
    alone = judge(arms[1:], alpha=0.025, wished_gain=WISHED).needed
    assert needed.most == alone.most


def test_test_images_may_be_what_is_lacking():
    needed = judge([gain(0.003, sd=0.001, images=200, image_sd=0.2)], alpha=0.05, wished_gain=WISHED).needed
    assert (needed.fewest, needed.most, needed.bottleneck) == (None, None, "test images")


def test_overlap_may_be_what_is_lacking():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(0.002, 0.01, (50, 1, 1)), 2, axis=1) * np.ones(20)
    estimate = FreshDraws(overlap=0.3).estimate(ImageValues(values=values, unit=0.0))
    needed = judge([estimate], alpha=0.05, wished_gain=WISHED).needed
    assert (needed.most, needed.bottleneck) == (None, "overlap")
