"""Statistics of the gain: replicates are the unit, pairs share a subset, regimes share one error rate.

A replicate is one draw of the subset with its own GAN and classifiers. The two arms of a comparison see the same
draw, so their difference is free of how lucky the draw was: the paired t interval is over these differences.
Beside it stand a bootstrap interval, which assumes no normal distribution, and what the study could have seen at all:
a verdict of "no measurable difference" means little where only a large gain was detectable.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtr
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_test

from evaluation.predictions import Predictions

POWER = 0.8  # the usual one (Cohen 1988)
MOST_REPLICATES = 10_000
POWER_QUANTILES = 300
BOOTSTRAP_RESAMPLES = 4999
BOOTSTRAP_REPLICATES = 10  # at least; simulated coverage is 94 % at 10 and 92 % at 6

Verdict = Literal["helps", "hurts", "no measurable difference", "not available"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and standard deviation (n - 1) over replicates; `sd` is None for a single one."""

    mean: float
    sd: float | None
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A paired difference with its interval.

    Attributes:
        values: one difference per replicate.
        low, high: the interval at the study's confidence, Holm-corrected over regimes; None where not available.
        p_value: two-sided, of the paired t test, uncorrected.
        p_holm: the same, Holm-corrected.
        verdict: what the interval says: wholly above 0, wholly below, or neither.
        unavailable: why there is no interval, or "".
        bootstrap_low, bootstrap_high: BCa interval at the same level; None where not available, for the reason in
            `bootstrap_unavailable`.
        at_least, at_most: one-sided bounds at the study's confidence for all regimes together (Bonferroni): no gain
            larger than `at_most`, none smaller than `at_least`.
        detectable: the smallest true gain that this many replicates with this spread would have shown with 80 % power.
        replicates_needed: replicates for 80 % power at the wished-for gain; None where more than 10,000.
    """

    mean: float
    values: tuple[float, ...]
    low: float | None
    high: float | None
    p_value: float | None
    p_holm: float | None
    verdict: Verdict
    unavailable: str
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    bootstrap_unavailable: str = ""
    at_least: float | None = None
    at_most: float | None = None
    detectable: float | None = None
    replicates_needed: int | None = None


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """Two classifiers on the same test images, within one cell.

    Attributes:
        only_first, only_second: images that only one of the two got right.
        p_value: two-sided, exact; it speaks of these two classifiers on this draw, not of the method.
    """

    only_first: int
    only_second: int
    p_value: float


def spread(values: Sequence[float]) -> Spread:
    """Summarise one arm's metric over replicates."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(np.mean(values)), sd=sd, values=tuple(values))


def paired_gains(
    families: Sequence[Sequence[float]], *, confidence: float, wished_gain: float = 0.005, bootstrap_seed: int = 0
) -> list[Gain]:
    """Estimate the gain of each regime from its paired differences, controlling errors over all regimes.

    Holm's step-down procedure (1979) compares the i-th smallest p-value of m with alpha / (m - i + 1) and stops at
    the first that is larger. Each regime's interval is taken at the level at which Holm judged it, so the interval
    leaves out 0 exactly where Holm rejects "no difference", and the verdict can be read off it.

    Args:
        families: for each regime, one difference (arm - reference) per replicate.
        confidence: such as 0.95, for all regimes together.
        wished_gain: the gain worth having, for `replicates_needed`.
        bootstrap_seed: fixed, so that a report computed again from its predictions is the same.
    """
    reasons = [_why_unavailable(values) for values in families]
    p_values = [None if reason else _p_value(values) for values, reason in zip(families, reasons, strict=True)]
    results = holm(p_values, alpha=1 - confidence)
    num_judged = sum(result.level is not None for result in results)
    gains = []
    for index, (values, reason, result) in enumerate(zip(families, reasons, results, strict=True)):
        gain = _gain(values, reason=reason, p_value=p_values[index], p_holm=result.p_holm, alpha=result.level)
        if result.level is not None:
            gain = _with_bootstrap(gain, alpha=result.level, rng=np.random.default_rng([bootstrap_seed, index]))
            gain = _with_power(gain, alpha=(1 - confidence) / num_judged, wished_gain=wished_gain)
        gains.append(gain)
    return gains


@dataclass(frozen=True, kw_only=True)
class HolmResult:
    """The level at which Holm judged one p-value, and that p-value corrected; None where there was none to judge."""

    level: float | None
    p_holm: float | None


def holm(p_values: Sequence[float | None], *, alpha: float) -> list[HolmResult]:
    """Judge p-values as one family by Holm's step-down procedure; absent ones (None) do not count."""
    judged = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    results = [HolmResult(level=None, p_holm=None) for _ in p_values]
    failed_level: float | None = None
    running = 0.0
    for rank, (p, index) in enumerate(judged):
        remaining = len(judged) - rank
        level = failed_level or alpha / remaining
        if failed_level is None and p > level:
            failed_level = level
        running = max(running, min(1.0, p * remaining))
        results[index] = HolmResult(level=level, p_holm=running)
    return results


def mean_interval(values: Spread, *, confidence: float) -> tuple[float, float] | None:
    """Return the t interval of one arm's mean, not paired with any other arm; None for a single replicate."""
    if values.sd is None:
        return None
    count = len(values.values)
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * values.sd / math.sqrt(count)
    return values.mean - half, values.mean + half


def mcnemar(first: Predictions, second: Predictions) -> McNemar:
    """Compare two arms of one cell image by image (McNemar 1947, exact binomial version).

    Raises:
        ValueError: the predictions are not on the same test images.
    """
    if not (np.array_equal(first.rows, second.rows) and np.array_equal(first.labels, second.labels)):
        raise ValueError("McNemar's test needs both predictions on the same test images, in the same order")
    first_right, second_right = first.predicted == first.labels, second.predicted == second.labels
    table = [
        [int((first_right & second_right).sum()), int((first_right & ~second_right).sum())],
        [int((~first_right & second_right).sum()), int((~first_right & ~second_right).sum())],
    ]
    p_value = float(mcnemar_test(table, exact=True).pvalue)
    return McNemar(only_first=table[0][1], only_second=table[1][0], p_value=p_value)


def detectable_gain(*, sd: float, replicates: int, alpha: float) -> float:
    """Return the true gain that a two-sided paired t test at `alpha` shows with 80 % power.

    Args:
        sd: standard deviation of the differences.
        replicates: 2 or more.
    """
    power = _power_function(replicates, alpha)
    highest = 1.0
    while power(highest) < POWER:
        highest *= 2
    return sd * float(brentq(lambda effect: power(effect) - POWER, 0.0, highest))


def replicates_for(gain: float, *, sd: float, alpha: float) -> int | None:
    """Return how many replicates show a true `gain` with 80 % power, or None where more than 10,000 are needed."""
    if sd == 0:
        return 2
    effect = abs(gain) / sd
    if _power_function(MOST_REPLICATES, alpha)(effect) < POWER:
        return None
    low, high = 1, MOST_REPLICATES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power_function(middle, alpha)(effect) >= POWER else (middle, high)
    return high


def equivalence_statement(gain: Gain, *, confidence: float) -> str:
    """Say in points what gain the data rule out, such as "no gain larger than 0.42 points (95% confidence)"."""
    if gain.at_most is None:
        return f"nothing can be ruled out: {gain.unavailable}"
    if gain.at_most <= 0:
        return f"no gain at all ({confidence:.0%} confidence)"
    return f"no gain larger than {100 * gain.at_most:.2f} points ({confidence:.0%} confidence)"


def _power_function(replicates: int, alpha: float) -> Callable[[float], float]:
    """Return the power of a two-sided one-sample t test as a function of the effect (gain over sd).

    The noncentral t probability as a mean over quantiles of the sample's standard deviation: scipy's and so
    statsmodels' own gives NaN for the large effects that two replicates need.
    """
    degrees = replicates - 1
    critical = float(stats.t.ppf(1 - alpha / 2, degrees))
    quantiles = (np.arange(POWER_QUANTILES) + 0.5) / POWER_QUANTILES
    bar = critical * np.sqrt(stats.chi2.ppf(quantiles, degrees) / degrees)  # what the scaled mean must exceed

    def power(effect: float) -> float:
        shift = effect * math.sqrt(replicates)
        return float(np.mean(ndtr(shift - bar) + ndtr(-shift - bar)))

    return power


def _with_power(gain: Gain, *, alpha: float, wished_gain: float) -> Gain:
    count, sd = len(gain.values), float(np.std(gain.values, ddof=1))
    half = float(stats.t.ppf(1 - alpha, count - 1)) * sd / math.sqrt(count)
    return replace(
        gain,
        at_least=gain.mean - half,
        at_most=gain.mean + half,
        detectable=detectable_gain(sd=sd, replicates=count, alpha=alpha),
        replicates_needed=replicates_for(wished_gain, sd=sd, alpha=alpha),
    )


def _with_bootstrap(gain: Gain, *, alpha: float, rng: np.random.Generator) -> Gain:
    """Add the BCa interval (Efron 1987), its level widened for few values (Hesterberg 2015, arXiv 1411.5279, 5.3).

    The bootstrap takes the spread of n values for that of their population, too small by sqrt((n - 1) / n), and
    normal for t quantiles. Asking it for the level at which normal quantiles are as wide as t's mends both.
    """
    count = len(gain.values)
    if count < BOOTSTRAP_REPLICATES:
        return replace(
            gain, bootstrap_unavailable=f"a bootstrap interval needs {BOOTSTRAP_REPLICATES} replicates or more"
        )
    if max(gain.values) == min(gain.values):
        return replace(gain, bootstrap_unavailable="every replicate gave the same difference")
    wide = math.sqrt(count / (count - 1)) * float(stats.t.ppf(1 - alpha / 2, count - 1))
    level = 1 - 2 * float(stats.norm.sf(wide))
    result = stats.bootstrap(
        (np.array(gain.values),),
        np.mean,
        confidence_level=level,
        n_resamples=BOOTSTRAP_RESAMPLES,
        method="BCa",
        rng=rng,
    )
    low, high = (float(bound) for bound in result.confidence_interval)
    if not (math.isfinite(low) and math.isfinite(high)):
        return replace(gain, bootstrap_unavailable="the bootstrap found no interval for these differences")
    return replace(gain, bootstrap_low=low, bootstrap_high=high)


def _why_unavailable(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "an interval needs 2 replicates or more"
    if max(values) == min(values) != 0:
        return "every replicate gave the same difference, so its spread cannot be estimated"
    return ""


def _p_value(values: Sequence[float]) -> float:
    if max(values) == min(values) == 0:
        return 1.0
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def _gain(
    values: Sequence[float], *, reason: str, p_value: float | None, p_holm: float | None, alpha: float | None
) -> Gain:
    mean = float(np.mean(values))
    low = high = None
    verdict: Verdict = "not available"
    if alpha is not None:
        count = len(values)
        half = float(stats.t.ppf(1 - alpha / 2, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
        low, high = mean - half, mean + half
        verdict = "helps" if low > 0 else "hurts" if high < 0 else "no measurable difference"
    return Gain(
        mean=mean,
        values=tuple(values),
        low=low,
        high=high,
        p_value=p_value,
        p_holm=p_holm,
        verdict=verdict,
        unavailable=reason,
    )
