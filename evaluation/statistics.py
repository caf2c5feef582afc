"""Statistics of the gain: replicates are the unit, pairs share a subset, regimes share one error rate.

A replicate is one draw of the subset with its own GAN and classifiers. The two arms of a comparison see the same
draw, so their difference is free of how lucky the draw was: the paired t interval is over these differences.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

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
    """

    mean: float
    values: tuple[float, ...]
    low: float | None
    high: float | None
    p_value: float | None
    p_holm: float | None
    verdict: Verdict
    unavailable: str


def spread(values: Sequence[float]) -> Spread:
    """Summarise one arm's metric over replicates."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(np.mean(values)), sd=sd, values=tuple(values))


def paired_gains(families: Sequence[Sequence[float]], *, confidence: float) -> list[Gain]:
    """Estimate the gain of each regime from its paired differences, controlling errors over all regimes.

    Holm's step-down procedure (1979) compares the i-th smallest p-value of m with alpha / (m - i + 1) and stops at
    the first that is larger. Each regime's interval is taken at the level at which Holm judged it, so the interval
    leaves out 0 exactly where Holm rejects "no difference", and the verdict can be read off it.

    Args:
        families: for each regime, one difference (arm - reference) per replicate.
        confidence: such as 0.95, for all regimes together.
    """
    reasons = [_why_unavailable(values) for values in families]
    p_values = [None if reason else _p_value(values) for values, reason in zip(families, reasons, strict=True)]
    judgements = holm(p_values, alpha=1 - confidence)
    return [
        _gain(values, reason=reason, p_value=p_value, p_holm=judgement.p_holm, alpha=judgement.level)
        for values, reason, p_value, judgement in zip(families, reasons, p_values, judgements, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The level at which Holm judged one p-value, and that p-value corrected; None where there was none to judge."""

    level: float | None
    p_holm: float | None


def holm(p_values: Sequence[float | None], *, alpha: float) -> list[Judgement]:
    """Judge p-values as one family by Holm's step-down procedure; absent ones (None) do not count."""
    judged = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    judgements = [Judgement(level=None, p_holm=None) for _ in p_values]
    failed_level: float | None = None
    running = 0.0
    for rank, (p, index) in enumerate(judged):
        remaining = len(judged) - rank
        level = failed_level or alpha / remaining
        if failed_level is None and p > level:
            failed_level = level
        running = max(running, min(1.0, p * remaining))
        judgements[index] = Judgement(level=level, p_holm=running)
    return judgements


def mean_interval(values: Spread, *, confidence: float) -> tuple[float, float] | None:
    """Return the t interval of one arm's mean, not paired with any other arm; None for a single replicate."""
    if values.sd is None:
        return None
    count = len(values.values)
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * values.sd / math.sqrt(count)
    return values.mean - half, values.mean + half


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
