"""Means over replicates by themselves: spreads, and t intervals where nothing but the replicates is to be told apart.

What a gain is worth, with the errors of seeds and test images, is `evaluation.intervals`' to say. These serve one arm's
accuracy on a chart, and two runs of one configuration that are held against each other on the same images. Replicates
that have images in common err together; `shared` is what that adds (`evaluation.facts.DesignFacts.shared`).
"""

import math
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


def mean_interval(values: Spread, *, confidence: float, shared: float = 0.0) -> tuple[float, float] | None:
    """Return the t interval of the mean over n replicates; None for a single one, and where all are alike.

    Args:
        shared: by which s^2 / n becomes s^2 (1 / n + shared), for replicates that have images in common.
    """
    if not values.sd:
        return None
    count = len(values.values)
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * values.sd * math.sqrt(1 / count + shared)
    return values.mean - half, values.mean + half


def mean_intervals(
    families: Sequence[Sequence[float]], *, confidence: float, shared: Sequence[float] = ()
) -> list[tuple[float, float] | None]:
    """Return t intervals of several means that all cover together with `confidence` (Bonferroni).

    Args:
        shared: of each mean, as for `mean_interval`; none: 0.
    """
    level = 1 - (1 - confidence) / max(1, len(families))
    return [
        mean_interval(spread(values), confidence=level, shared=part) if values else None
        for values, part in zip(families, shared or [0.0] * len(families), strict=True)
    ]
