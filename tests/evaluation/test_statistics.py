import math

import numpy as np
import pytest
from scipy import stats

from evaluation.predictions import Predictions
from evaluation.statistics import (
    detectable_gain,
    equivalence_statement,
    mcnemar,
    paired_gains,
    replicates_for,
    spread,
)


def gain_of(values, confidence=0.95):
    (gain,) = paired_gains([values], confidence=confidence)
    return gain


def test_spread_of_two_values_is_analytic():
    summary = spread([1.0, 3.0])
    assert (summary.mean, summary.sd, summary.values) == (2.0, pytest.approx(math.sqrt(2)), (1.0, 3.0))


def test_spread_of_a_single_value_has_no_deviation():
    assert spread([0.5]).sd is None


def test_interval_is_the_paired_t_interval():
    values = [0.01, 0.02, 0.04]
    gain = gain_of(values)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (gain.low, gain.high) == (pytest.approx(low), pytest.approx(high))


def test_p_value_is_the_paired_t_test_of_scipy():
    arm, reference = [0.91, 0.93, 0.96, 0.92], [0.90, 0.925, 0.93, 0.92]
    differences = [a - b for a, b in zip(arm, reference, strict=True)]
    assert gain_of(differences).p_value == pytest.approx(stats.ttest_rel(arm, reference).pvalue)


def test_single_replicate_has_a_reason_instead_of_an_interval():
    gain = gain_of([0.02])
    assert (gain.low, gain.verdict, gain.detectable, gain.at_most) == (None, "not available", None, None)
    assert "2 replicates" in gain.unavailable


def test_equal_differences_have_a_reason():
    assert "same difference" in gain_of([0.02, 0.02, 0.02]).unavailable


def test_no_difference_at_all_is_no_measurable_difference():
    gain = gain_of([0.0] * 10)
    assert (gain.verdict, gain.at_most, gain.bootstrap_low) == ("no measurable difference", 0.0, None)
    assert "same difference" in gain.bootstrap_unavailable


def test_holm_corrects_as_statsmodels_does():
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(4)
    families = [rng.normal(shift, 1, 6).tolist() for shift in (0, 1, 2, 4)]
    gains = paired_gains(families, confidence=0.95)
    rejected, corrected, *_ = multipletests([gain.p_value for gain in gains], method="holm")
    assert [gain.p_holm for gain in gains] == pytest.approx(corrected)
    assert [gain.verdict == "helps" for gain in gains] == list(rejected)


def test_interval_leaves_out_zero_exactly_where_holm_rejects():
    rng = np.random.default_rng(5)
    for _ in range(50):
        gains = paired_gains([rng.normal(0.8, 1, 5).tolist() for _ in range(3)], confidence=0.95)
        for gain in gains:
            assert (gain.p_holm <= 0.05) == (gain.low > 0 or gain.high < 0)


@pytest.mark.parametrize("replicates", [2, 3, 5])
def test_intervals_cover_the_truth_in_95_percent_of_studies(replicates):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        gain = gain_of(rng.normal(0.3, 1.0, replicates).tolist())
        covered.append(gain.low <= 0.3 <= gain.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_bootstrap_intervals_cover_the_truth_in_95_percent_of_studies():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(600):
        gain = gain_of(rng.normal(0.3, 1.0, 12).tolist())
        covered.append(gain.bootstrap_low <= 0.3 <= gain.bootstrap_high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_null_studies_of_four_regimes_help_in_at_most_5_percent():
    rng = np.random.default_rng(2)
    helps = 0
    for _ in range(500):
        gains = paired_gains(rng.normal(0, 1, (4, 3)).tolist(), confidence=0.95)
        helps += any(gain.verdict == "helps" for gain in gains)
    assert helps / 500 <= 0.05


def test_bootstrap_needs_ten_replicates():
    gain = gain_of([0.01, 0.02, 0.04, 0.03])
    assert gain.bootstrap_low is None
    assert "10 replicates" in gain.bootstrap_unavailable


def test_bootstrap_repeats():
    values = np.linspace(0, 0.04, 10).tolist()
    assert gain_of(values).bootstrap_low is not None
    assert gain_of(values) == gain_of(values)


def test_detectable_gain_is_seen_in_80_percent_of_studies():
    gain = detectable_gain(sd=2.0, replicates=5, alpha=0.05)
    studies = np.random.default_rng(3).normal(gain, 2.0, (20_000, 5))
    assert (stats.ttest_1samp(studies, 0.0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.01)


def test_replicates_for_and_detectable_gain_are_inverse():
    needed = replicates_for(0.01, sd=0.02, alpha=0.05)
    assert detectable_gain(sd=0.02, replicates=needed, alpha=0.05) <= 0.01
    assert detectable_gain(sd=0.02, replicates=needed - 1, alpha=0.05) > 0.01


def test_power_is_that_of_statsmodels():
    from statsmodels.stats.power import TTestPower

    effect = TTestPower().solve_power(nobs=5, alpha=0.05, power=0.8)
    assert detectable_gain(sd=1.0, replicates=5, alpha=0.05) == pytest.approx(effect, rel=1e-3)


def test_hopeless_gain_needs_too_many_replicates():
    assert replicates_for(1e-6, sd=1.0, alpha=0.05) is None


def test_one_sided_bound_is_analytic():
    values = [0.0, 0.01, -0.01]
    expected = stats.t.ppf(0.95, 2) * 0.01 / math.sqrt(3)
    assert gain_of(values).at_most == pytest.approx(expected)


def test_equivalence_says_what_is_ruled_out():
    gain = gain_of([0.0, 0.001, -0.001])
    assert equivalence_statement(gain, confidence=0.95) == "no gain larger than 0.17 points (95% confidence)"


def test_harm_is_no_gain_at_all():
    assert equivalence_statement(gain_of([-0.01, -0.011, -0.012]), confidence=0.95).startswith("no gain at all")


def test_equivalence_of_a_single_replicate_is_not_available():
    assert "2 replicates" in equivalence_statement(gain_of([0.0]), confidence=0.95)


def predictions(predicted, labels, rows=None):
    return Predictions(
        rows=np.arange(len(labels)) if rows is None else rows,
        labels=np.array(labels),
        probabilities=np.eye(2, dtype=np.float32)[predicted],
    )


def test_mcnemar_is_the_exact_binomial_test_of_the_disagreements():
    labels = [0] * 10
    first, second = predictions([0] * 8 + [1, 1], labels), predictions([1] * 6 + [0] * 2 + [0, 1], labels)
    result = mcnemar(first, second)
    assert (result.only_first, result.only_second) == (6, 1)
    assert result.p_value == pytest.approx(stats.binomtest(1, 7).pvalue)


def test_mcnemar_refuses_other_images():
    with pytest.raises(ValueError, match="same test images"):
        mcnemar(predictions([0, 1], [0, 1]), predictions([0, 1], [0, 1], rows=np.array([1, 2])))
