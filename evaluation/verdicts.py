"""What a study may say, read off its intervals.

**The gain that counts** is over the best arm that needs no GAN: the smallest of the gains over the single ones. Each of
them is estimated against all of the same replicates, and which is the smallest is not known. An interval for the
smallest that errs with probability alpha:

- its lower end is the lowest of the lower ends at alpha / 2. It lies above the smallest gain only if the interval of
  that very arm does: no correction for the number of arms (intersection-union test; Berger 1982, Technometrics 24,
  295-300);
- its upper end is the lowest of the upper ends at alpha / (2 q) with q arms: any one of them may be too low.

All verdicts are read off this one interval, so that none can contradict it or another:

- **helps**: it lies above 0. The GAN is better than every arm that needs none.
- **hurts**: it lies below 0. Some arm that needs no GAN is better, so that the GAN is a loss against what one would
  otherwise do. (Being worse than *every* such arm would be a weaker reproach: the GAN arm might beat a bad one.)
- **no gain worth having**: it lies within the wished gain on both sides (two one-sided tests, Schuirmann 1987, Journal
  of Pharmacokinetics and Biopharmaceutics 15, 657), whether or not 0 is inside. Who wishes for half a point has no use
  for a proof that the gain is between 0.1 and 0.4.
- **undecided**: none of these.

A false "helps", a false "hurts" and a false "no gain worth having" each need an end on the wrong side of the truth, so
that all of them together come with probability alpha at most. A study's regimes share alpha equally (Bonferroni): they
share test images, so their errors are dependent, and this holds all the same. All intervals of a study so cover
together. What Holm's procedure decides beyond that has no interval to show for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import chi2

from evaluation.intervals import Estimate, Unavailable

MOST_REPLICATES = 10_000
VARIANCE_QUANTILES = 0.1, 0.9

Verdict = Literal["helps", "hurts", "no gain worth having", "undecided", "unavailable"]
Bottleneck = Literal["replicates", "test images", "overlap"]


def is_decided(verdict: Verdict) -> bool:
    """Tell whether more replicates have nothing left to tell."""
    return verdict in ("helps", "hurts", "no gain worth having")


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What it would take to decide, by the next final look.

    Attributes:
        fewest: replicates in all that decide if the mean stays and the variance between replicates is as small as the
            data allow (its lower 10 % bound), more than there are; None where more than 10,000.
        most: replicates in all that decide whatever the true gain is, since the interval is then no wider than the
            wished gain, with the variance at its upper 10 % bound; None where no number of replicates is sure to.
        bottleneck: what stands in the way: the largest part of the error that is left where replicates are not enough.
    """

    fewest: int | None
    most: int | None
    bottleneck: Bottleneck


@dataclass(frozen=True, kw_only=True)
class JudgedGain:
    """A verdict on one regime and the interval that it is read off.

    Attributes:
        mean: of the gain over the arm that comes closest; None where unavailable.
        low, high: the interval of the gain over the best arm that needs no GAN.
        closest: index of the arm that comes closest.
        needed: where undecided.
        unavailable: why there is no interval, or "".
    """

    verdict: Verdict
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    closest: int | None = None
    needed: Needed | None = None
    unavailable: str = ""

    @property
    def decided(self) -> bool:
        """Whether the verdict is one that stays."""
        return is_decided(self.verdict)


def regime_alpha(alpha: float, *, num_regimes: int) -> float:
    """Return the probability of error that each regime of a study gets, so that all together err with `alpha` at most.

    Args:
        alpha: probability that any interval misses: 1 - confidence, or what a look may spend (`evaluation.stopping`).
    """
    return alpha / num_regimes


@dataclass(frozen=True, kw_only=True)
class NextLook:
    """How a study that is undecided will be judged when it has more replicates.

    Attributes:
        alpha: probability that its intervals may miss, the regime's own; less than now, since this look spent some.
        multiple_of: replicates come in as many at a time: the folds of a repeat.
    """

    alpha: float
    multiple_of: int = 1


def judge(
    gains: Sequence[Estimate | Unavailable], *, alpha: float, wished_gain: float, later: NextLook | None = None
) -> JudgedGain:
    """Judge one regime by its gains over each arm that needs no GAN.

    Args:
        gains: of the arm in question, one or more.
        alpha: probability that the interval misses: the regime's own (`regime_alpha`).
        wished_gain: the gain worth having, above 0.
        later: how more replicates will be judged; None: as these.
    """
    estimates: list[Estimate] = []
    for gain in gains:
        if isinstance(gain, Unavailable):
            return JudgedGain(verdict="unavailable", unavailable=gain.reason)
        estimates.append(gain)
    if not estimates:
        return JudgedGain(verdict="unavailable", unavailable="there is no arm to compare with")
    low = min(estimate.interval(1 - alpha)[0] for estimate in estimates)
    high = min(estimate.interval(1 - alpha / len(estimates))[1] for estimate in estimates)
    closest = min(range(len(estimates)), key=lambda index: estimates[index].mean)
    verdict = read_off(low, high, wished_gain=wished_gain)
    return JudgedGain(
        verdict=verdict,
        mean=estimates[closest].mean,
        low=low,
        high=high,
        closest=closest,
        needed=needed(estimates, wished_gain=wished_gain, later=later or NextLook(alpha=alpha))
        if verdict == "undecided"
        else None,
    )


def read_off(low: float, high: float, *, wished_gain: float) -> Verdict:
    """Return what an interval says."""
    if -wished_gain < low and high < wished_gain:
        return "no gain worth having"
    if low > 0:
        return "helps"
    return "hurts" if high < 0 else "undecided"


def needed(gains: Sequence[Estimate], *, wished_gain: float, later: NextLook) -> Needed:
    """Say how many replicates decide, as a range that carries how badly the variance is known.

    The interval decides when its half width is below |mean| or below wished gain - |mean|, if the mean of the closest
    arm stays. It is sure to decide when the half width over each arm is at most half the wished gain: its ends may come
    from different arms.

    Args:
        gains: over each arm that needs no GAN, one or more, of as many replicates.
    """
    closest = min(gains, key=lambda gain: gain.mean)
    alpha, step = later.alpha / len(gains), later.multiple_of
    present = len(closest.values)

    def decided_by(gain: Estimate, half_width: float, *, quantile: float, optimistic: bool) -> int | None:
        degrees = min((source.degrees for source in gain.sources if source.shrinks), default=1.0)
        factor = degrees / float(chi2.ppf(1 - quantile, degrees))

        def wide(replicates: int) -> bool:
            projected = gain.projected_half_width(
                1 - alpha, replicates=replicates, factor=factor, optimistic=optimistic
            )
            return projected >= half_width

        if wide(MOST_REPLICATES):
            return None
        low, high = present, MOST_REPLICATES
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if wide(middle) else (low, middle)
        return step * -(-high // step)

    at_best = max(abs(closest.mean), wished_gain - abs(closest.mean))
    smallest, largest = VARIANCE_QUANTILES
    fewest = decided_by(closest, at_best, quantile=smallest, optimistic=True)
    surely = [decided_by(gain, wished_gain / 2, quantile=largest, optimistic=False) for gain in gains]
    most = None if None in surely else max(count for count in surely if count is not None)
    if most is not None:
        bottleneck: Bottleneck = "replicates"
    else:
        bottleneck = "test images" if closest.parts.test_images >= closest.parts.overlap else "overlap"
    return Needed(fewest=fewest, most=most, bottleneck=bottleneck)
