"""Spreads and t intervals of means over replicates."""

import numpy as np
import pytest
from scipy import stats

from evaluation.statistics import mean_interval, mean_intervals, spread


def test_spread_has_the_sample_standard_deviation() -> None:
    found = spread([1.0, 2.0, 3.0])
    assert (found.mean, found.sd) == (2.0, 1.0)


def test_single_replicate_has_no_spread_and_no_interval() -> None:
    assert spread([1.0]).sd is None
    assert mean_interval(spread([1.0]), confidence=0.95) is None


def test_interval_is_student_s() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    assert mean_interval(spread(values), confidence=0.95) == pytest.approx((4 - half, 4 + half))


def test_replicates_that_share_images_have_a_wider_interval() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    low, high = mean_interval(spread(values), confidence=0.95, shared=0.75) or (0, 0)
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 3) * np.std(values, ddof=1))
    assert mean_intervals([values, values], confidence=0.9, shared=[0.75, 0.0])[0] == pytest.approx((low, high))


def test_several_intervals_hold_together() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    assert mean_intervals([values, values], confidence=0.95) == [mean_interval(spread(values), confidence=0.975)] * 2
    assert mean_intervals([[], [2.0, 2.0]], confidence=0.95) == [None, None]
