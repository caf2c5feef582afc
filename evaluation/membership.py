"""Membership inference: do the samples, or the generator's file, tell who was in the training set?

One attack knows all samples, and an image with its class: the nearer the nearest sample of that class, the likelier it
was in training (Chen et al. 2020, "GAN-Leaks", arXiv 1909.03935, section 4.1, with the generator's samples alone). The
other has the generator's file and brings it as near to the image as it comes (its white-box attack; `gan.inversion`).
Beside it stand, as in anonymeter (Giomi et al. 2023, arXiv 2211.10459, section 4), a baseline and a control: what
somebody who has no samples could tell, and what the attack "finds" in images that were not in training at all.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from scipy import stats

from data.images import LabelledImages
from evaluation.memorisation import Distances, Labels, matched, nearest, pixel_vectors

LOW_FALSE_POSITIVES = 0.01
CONFIDENCE = 0.95
FEWEST = 10  # images on each side
MOST_OTHERS = 5000
MOST_MADE_AGAIN = 1000  # images on each side that a generator is brought near to

NearestMade = Callable[[LabelledImages], Distances]
"""Maps images to their distances (N,) to what a generator can be brought to make."""


class Attack(BaseModel, frozen=True, extra="forbid"):
    """How well scores tell images that were in training from others.

    Attributes:
        auc: area under the ROC curve, 1/2 is chance; its interval (95%) by images, after DeLong et al. 1988.
        caught: true positives at 1% false positives, which is chance; its Clopper-Pearson interval takes the threshold
            as given.
        unavailable: why there is no attack, or "".
    """

    auc: float | None
    auc_low: float | None
    auc_high: float | None
    caught: float | None
    caught_low: float | None
    caught_high: float | None
    unavailable: str = ""


class Membership(BaseModel, frozen=True, extra="forbid"):
    """The attacks on the samples and on the generator.

    Attributes:
        num_members, num_others: images that were in training, and real images of the same source that were not.
        samples: the attack.
        baseline: the same without samples: how near an image is to the middle of its class.
        control: the attack on two halves of the images that were not in training: what it finds where nothing is.
        generator: the attack on the generator's file; None where there is none.
    """

    num_members: int
    num_others: int
    samples: Attack
    baseline: Attack
    control: Attack
    generator: Attack | None = None

    def sentence(self) -> str:
        """Say how far the samples, and the generator's file where there is one, tell who was in training."""
        told = _sentence("samples", "give", self.samples, beginning=f"With {self.num_members:,} training images, ")
        if self.generator is None:
            return told
        return f"{told} {_sentence('the generator file', 'gives', self.generator)}"


def _sentence(who: str, gives: str, attack: Attack, *, beginning: str = "") -> str:
    if attack.auc is None or attack.auc_low is None or attack.auc_high is None or attack.caught is None:
        told = f"whether {who} can tell who was in training is not known: {attack.unavailable}."
    else:
        found = (
            f"{who} {gives} away who was in training"
            if attack.auc_low > 0.5 and attack.auc >= 0.6
            else f"{who} {gives} a hint of who was in training"
            if attack.auc_low > 0.5
            else f"this attack does not tell from {who} who was in training"
        )
        told = (
            f"{found}: AUC {attack.auc:.2f} ({attack.auc_low:.2f} to {attack.auc_high:.2f}; 0.5 is chance), "
            f"{attack.caught:.0%} of them found at 1% false alarms."
        )
    sentence = beginning + told
    return sentence[0].upper() + sentence[1:]


def measure_membership(
    samples: LabelledImages,
    *,
    members: LabelledImages,
    others: LabelledImages,
    known: LabelledImages,
    rng: np.random.Generator,
    nearest_made: NearestMade | None = None,
) -> Membership:
    """Attack the samples, and the generator where it is given.

    Args:
        members: the training images.
        others: images of the same source that were not in training; as many times the members of every class as there
            are of all classes are taken.
        known: further images, from which the baseline takes what a class looks like.
    """
    counts, available = members.class_counts(), others.class_counts()
    times = min((int(has // needs) for has, needs in zip(available, counts, strict=True) if needs), default=0)
    outsiders = matched(others, counts * min(times, max(1, MOST_OTHERS // len(members))), rng)
    pixels = pixel_vectors(samples.images)
    mine, theirs = (_nearness(part, pixels, samples.labels) for part in (members, outsiders))
    middles = _middles(known)
    order = rng.permutation(len(theirs))
    half = len(order) // 2
    return Membership(
        num_members=len(members),
        num_others=len(outsiders),
        samples=attack(mine, theirs),
        baseline=attack(_to_middle(members, middles), _to_middle(outsiders, middles)),
        control=attack(theirs[order[:half]], theirs[order[half:]]),
        generator=None if nearest_made is None else _attack_on(nearest_made, members, outsiders, rng),
    )


def _attack_on(
    nearest_made: NearestMade, members: LabelledImages, outsiders: LabelledImages, rng: np.random.Generator
) -> Attack:
    some = [part.take(np.sort(rng.permutation(len(part))[:MOST_MADE_AGAIN])) for part in (members, outsiders)]
    return attack(*(-nearest_made(part) for part in some))


def attack(members: Distances, others: Distances) -> Attack:
    """Judge scores (M,) and (N,), higher for those taken to be members; NaN where an image has no score."""
    members, others = members[~np.isnan(members)], others[~np.isnan(others)]
    if min(len(members), len(others)) < FEWEST:
        reason = f"{len(members):,} training and {len(others):,} other images; {FEWEST} of each are needed"
        return Attack(
            auc=None, auc_low=None, auc_high=None, caught=None, caught_low=None, caught_high=None, unavailable=reason
        )
    auc, error = auc_with_error(members, others)
    width = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * error
    threshold = float(np.quantile(others, 1 - LOW_FALSE_POSITIVES, method="higher"))
    found = stats.binomtest(int((members > threshold).sum()), len(members))
    interval = found.proportion_ci(CONFIDENCE, method="exact")
    return Attack(
        auc=auc,
        auc_low=max(0.0, auc - width),
        auc_high=min(1.0, auc + width),
        caught=found.statistic,
        caught_low=float(interval.low),
        caught_high=float(interval.high),
    )


def auc_with_error(members: Distances, others: Distances) -> tuple[float, float]:
    """Return the area under the ROC curve and its standard error (DeLong et al. 1988, Biometrics 44, equation 4)."""
    m, n = len(members), len(others)
    together = stats.rankdata(np.concatenate([members, others]))
    of_members = (together[:m] - stats.rankdata(members)) / n  # each member's share of others below it
    of_others = 1 - (together[m:] - stats.rankdata(others)) / m
    error = math.sqrt(float(of_members.var(ddof=1)) / m + float(of_others.var(ddof=1)) / n)
    return float(of_members.mean()), error


def _nearness(images: LabelledImages, samples: npt.NDArray[np.float32], labels: Labels) -> Distances:
    """Return minus the distance to the nearest sample of the class, (N,); NaN where the class has no sample."""
    scores = np.full(len(images), np.nan)
    vectors = pixel_vectors(images.images)
    for label in np.unique(images.labels):
        own = images.labels == label
        if (labels == label).any():
            scores[own] = -nearest(vectors[own], samples[labels == label])[1]
    return scores


def _middles(images: LabelledImages) -> npt.NDArray[np.float32]:
    """Return the mean image of each class, (num_classes, D); NaN where the class has none."""
    vectors = pixel_vectors(images.images)
    middles = np.full((images.num_classes, vectors.shape[1]), np.nan, np.float32)
    for label in np.unique(images.labels):
        middles[label] = vectors[images.labels == label].mean(0)
    return middles


def _to_middle(images: LabelledImages, middles: npt.NDArray[np.float32]) -> Distances:
    away = pixel_vectors(images.images) - middles[images.labels]
    return np.asarray(-np.linalg.norm(away, axis=1), np.float64)
