"""Means over replicates by themselves: spreads, and t intervals where nothing but the replicates is to be told apart.

What a gain is worth, with the errors of seeds and test images, is `evaluation.intervals`' to say. These serve one arm's
accuracy on a chart, and two runs of one configuration that are held against each other on the same images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and standard deviation (n - 1) over replicates; `sd` is None for a single one."""

    mean: float
    sd: float | None
    values: tuple[float, ...]


def spread(values: Sequence[float]) -> Spread:
    """Summarise one figure over replicates."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(np.mean(values)), sd=sd, values=tuple(values))


def mean_interval(values: Spread, *, confidence: float) -> tuple[float, float] | None:
    """Return the t interval of the mean over replicates; None for a single one, and where all are alike."""
    if not values.sd:
        return None
    low, high = stats.ttest_1samp(values.values, 0.0).confidence_interval(confidence)
    return float(low), float(high)


def mean_intervals(families: Sequence[Sequence[float]], *, confidence: float) -> list[tuple[float, float] | None]:
    """Return t intervals of several means that all cover together with `confidence` (Bonferroni)."""
    level = 1 - (1 - confidence) / max(1, len(families))
    return [mean_interval(spread(values), confidence=level) if values else None for values in families]
