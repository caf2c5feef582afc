"""What a gain is worth in labelled images, and how to spend the computing time that narrows its interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from evaluation.image_values import FloatArray, ImageValues
from evaluation.intervals import Design, Unavailable

STEPS = 32  # between the fewest and the most images
MOST_SEEDS = 16


@dataclass(frozen=True, kw_only=True)
class LabelsWorth:
    """A gain in labelled images: so many more per class would bring the reference as far.

    Attributes:
        images: more images per class; 0 for no gain, None for more than `most`.
        low, high: its interval; `high` is None where it is open, since even `most` images are not sure to bring more
            than the gain; `low` equal to `most` says that they bring less.
        most: more images per class that the reference was tried with.
    """

    images: float | None
    low: float
    high: float | None
    most: float


def worth_in_labels(
    gains: ImageValues, more_images: Mapping[float, ImageValues], *, design: Design, level: float, per_class: float
) -> LabelsWorth | Unavailable:
    """Say how many more labelled images would have been worth as much as the gain.

    The reference's gain from more images is put on a line between the numbers tried, in the logarithm of the number, as
    learning curves run. For each number of images in between, "they are worth as much as the gain" is tested by the
    interval of the difference, replicate by replicate and image by image; the numbers that are not rejected are the
    interval (Fieller 1954: no division by a slope that may be 0, and open where the slope is). The estimate itself
    comes from the mean curve, made monotone (isotonic regression).

    Args:
        gains: values (R, S, N) of the arm in question over the reference.
        more_images: for factors above 1, such as 1.25, 1.5 and 2, values (R, S, N) of the reference trained on so many
            times as many images, over the reference itself, in the same replicates.
        design: of the study.
        level: of the interval, such as 0.95.
        per_class: labelled images per class, those of the reference.
    """
    factors = [1.0, *sorted(more_images)]
    curve = [np.zeros_like(gains.values), *(more_images[factor].values for factor in factors[1:])]
    units = [gains.unit, *(values.unit for values in more_images.values())]
    logarithms = np.log(factors)
    most = per_class * (factors[-1] - 1)
    kept: list[float] = []
    for position in np.linspace(0.0, logarithms[-1], STEPS + 1):
        lead = ImageValues(values=gains.values - _between(logarithms, curve, float(position)), unit=max(units))
        estimate = design.estimate(lead)
        if isinstance(estimate, Unavailable):
            return estimate
        low, high = estimate.interval(level)
        if low <= 0 <= high:
            kept.append(per_class * math.expm1(position))
    means = isotonic_regression([float(values.mean()) for values in curve]).x
    images = _images_for(float(gains.values.mean()), means - means[0], logarithms, per_class=per_class)
    if not kept:  # surer than the steps are fine, or beyond what was tried
        return LabelsWorth(images=images, low=most if images is None else images, high=images, most=most)
    open_ended = math.isclose(kept[-1], most)
    if images is not None:  # a curve that is not monotone may lead out of the interval
        images = min(max(images, kept[0]), kept[-1])
    return LabelsWorth(images=images, low=kept[0], high=None if open_ended else kept[-1], most=most)


def best_seeds(draw_variance: float, seed_variance: float, *, replicate_seconds: float, seed_seconds: float) -> int:
    """Return how many classifier seeds per arm, of `MOST_SEEDS` at most, make variance times seconds smallest.

    A replicate with S seeds takes G + S C seconds and has the variance D + V / S, so that T seconds leave the mean with
    (D + V / S) (G + S C) / T. This is smallest at S = sqrt(V G / (D C)), and convex, so that the best whole number is
    one of its neighbours (optimum allocation in two stages: Cochran 1977, "Sampling Techniques", equation 10.19).

    Args:
        draw_variance: D, between replicates with endless seeds (`Estimate.draw_variance`).
        seed_variance: V, between seeds of one replicate (`Estimate.seed_variance`).
        replicate_seconds: G, for the GAN and its samples, whatever the number of seeds.
        seed_seconds: C, for one classifier in each arm, above 0.
    """

    def cost(seeds: int) -> float:
        return (draw_variance + seed_variance / seeds) * (replicate_seconds + seeds * seed_seconds)

    best = math.inf
    if draw_variance > 0:
        best = math.sqrt(seed_variance * replicate_seconds / (draw_variance * seed_seconds))
    elif not seed_variance * replicate_seconds:
        best = 1.0
    fewer = max(1, math.floor(min(best, MOST_SEEDS)))
    return min(fewer, min(MOST_SEEDS, fewer + 1), key=cost)


def _between(logarithms: FloatArray, curve: list[FloatArray], position: float) -> FloatArray:
    """Return the curve's values at a logarithm between those tried."""
    upper = min(max(1, int(np.searchsorted(logarithms, position))), len(curve) - 1)
    share = (position - logarithms[upper - 1]) / (logarithms[upper] - logarithms[upper - 1])
    between: FloatArray = (1 - share) * curve[upper - 1] + share * curve[upper]
    return between


def _images_for(gain: float, means: FloatArray, logarithms: FloatArray, *, per_class: float) -> float | None:
    """Return at how many more images the rising curve `means`, from 0, reaches the gain; None beyond its end."""
    if gain <= 0:
        return 0.0
    if gain > means[-1]:
        return None
    upper = int(np.searchsorted(means, gain))
    share = (gain - means[upper - 1]) / (means[upper] - means[upper - 1])
    position = logarithms[upper - 1] + share * (logarithms[upper] - logarithms[upper - 1])
    return per_class * math.expm1(float(position))
