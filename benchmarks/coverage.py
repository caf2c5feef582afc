"""Whether the intervals keep their promise: coverage and width on simulated studies with a known truth.

    python -m benchmarks.coverage rows        # the sizes measured on MNIST, linear effects (2 minutes)
    python -m benchmarks.coverage learners    # cross-validation of real classifiers on normal classes (15 minutes)
    python -m benchmarks.coverage stopping    # replicates until decided under several stopping rules (1 minute)

Of each interval: how often it misses the truth, in %, and its mean width over that of an interval that knows the
variance. "t" is the paired t interval over replicates, "N&B" the corrected resampled t interval (Nadeau & Bengio 2003).
The Monte-Carlo error of a rate p from n studies is sqrt(p (1 - p) / n): 0.5 points for 5 % of 2,000.
"""

import argparse
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import stdtrit

from benchmarks.learners import CLASSIFIERS, Problem, cross_validated, true_gain
from benchmarks.simulated import SimulatedDataSet, SimulatedDraws
from evaluation.intervals import CrossValidation, Estimate, FreshDraws, Unavailable
from evaluation.stopping import Look, look_at, looks
from evaluation.verdicts import read_off

LEVEL = 0.95
MOST_REPLICATES = 400
WISHED_GAIN = 0.7


@dataclass
class Tally:
    """Misses and half widths of one interval over studies."""

    misses: int = 0
    half_widths: float = 0.0
    studies: int = 0

    def add(self, error: float, half_width: float) -> None:
        """Count one study, whose mean is off by `error`."""
        self.misses += abs(error) > half_width
        self.half_widths += half_width
        self.studies += 1

    def told(self, ideal_half_width: float) -> str:
        """Return the miss rate and the relative width."""
        rate, width = self.misses / self.studies, self.half_widths / self.studies / ideal_half_width
        return f"{100 * rate:5.1f} ({width:.2f})"


def t_half_width(values: Sequence[float], *, correction: float = 0.0) -> float:
    """Return half the t interval of the mean, its variance s^2 (1 / R + correction)."""
    count = len(values)
    critical = -float(stdtrit(count - 1, (1 - LEVEL) / 2))
    return critical * float(np.std(values, ddof=1)) * math.sqrt(1 / count + correction)


def sure(estimate: Estimate | Unavailable) -> Estimate:
    """Return the estimate, which is there in every simulated study."""
    if isinstance(estimate, Unavailable):
        raise RuntimeError(estimate.reason)
    return estimate


def rows(studies: int, rng: np.random.Generator) -> None:
    """Print the table of the sizes measured on MNIST."""
    print("fresh draws            R    S |      crossed |            t")
    for overlap in (0.0, 0.08):
        for seeds in (1, 2):
            for replicates in (3, 5, 20, 100):
                truth = SimulatedDraws(replicates=replicates, seeds=seeds, images=10_000, overlap=overlap)
                crossed, plain = Tally(), Tally()
                for _ in range(studies):
                    estimate = sure(FreshDraws(overlap=overlap).estimate(truth.gains(rng)))
                    crossed.add(estimate.mean, estimate.half_width(LEVEL))
                    plain.add(estimate.mean, t_half_width(estimate.values))
                ideal = float(stats.norm.isf((1 - LEVEL) / 2)) * math.sqrt(truth.variance_of_mean)
                told = f"{crossed.told(ideal)} | {plain.told(ideal)}"
                print(f"overlap {overlap:4.2f}, 10,000 {replicates:4d} {seeds:4d} | {told}", flush=True)
    print("one data set           R    S |      crossed |            t |          N&B")
    for images in (200, 500, 2000, 10_000):
        for num_folds, repeats in ((3, 1), (5, 1), (5, 2), (5, 4), (5, 20)):
            for seeds in (1, 2):
                truth_of_set = SimulatedDataSet(images=images, num_folds=num_folds, repeats=repeats, seeds=seeds)
                tallies = [Tally(), Tally(), Tally()]
                for _ in range(studies):
                    gains, folds = truth_of_set.study(rng)
                    estimate = sure(CrossValidation(folds=folds).estimate(gains))
                    corrected = t_half_width(estimate.values, correction=1 / (num_folds - 1))
                    half_widths = estimate.half_width(LEVEL), t_half_width(estimate.values), corrected
                    for tally, half_width in zip(tallies, half_widths, strict=True):
                        tally.add(estimate.mean, half_width)
                ideal = float(stats.norm.isf((1 - LEVEL) / 2)) * math.sqrt(truth_of_set.variance_of_mean)
                told = " | ".join(tally.told(ideal) for tally in tallies)
                print(f"{images:6,d} images, K={num_folds} {num_folds * repeats:4d} {seeds:4d} | {told}", flush=True)


def learners(studies: int, rng: np.random.Generator) -> None:
    """Print the coverage of cross-validation with real classifiers."""
    problem = Problem()
    print("classifier           images    R  true gain |      crossed |            t |          N&B")
    for name, classify in CLASSIFIERS.items():
        slow = name == "logistic regression"
        for images in (200, 500) if slow else (200, 500, 2000):
            data_sets, number = (300, studies // 5) if slow else (1500, studies)
            truth = true_gain(rng, classify, problem=problem, number=images * 4 // 5, data_sets=data_sets)
            for repeats in (1, 4):
                tallies, means = [Tally(), Tally(), Tally()], []
                for _ in range(number if images < 2000 else number // 4):
                    data = problem.sample(rng, images)
                    gains, folds = cross_validated(rng, classify, data, num_folds=5, repeats=repeats)
                    estimate = sure(CrossValidation(folds=folds, classes=data[1]).estimate(gains))
                    corrected = t_half_width(estimate.values, correction=1 / 4)
                    half_widths = estimate.half_width(LEVEL), t_half_width(estimate.values), corrected
                    means.append(estimate.mean)
                    for tally, half_width in zip(tallies, half_widths, strict=True):
                        tally.add(estimate.mean - truth, half_width)
                ideal = float(stats.norm.isf((1 - LEVEL) / 2)) * float(np.std(means))
                told = " | ".join(tally.told(ideal) for tally in tallies)
                print(f"{name:20s} {images:6,d} {5 * repeats:4d} {100 * truth:+10.2f} | {told}", flush=True)


def t_mixture_critical(replicates: int, *, alpha: float, prior_variance: float) -> float:
    """Return the critical |t| that is valid at every number of replicates together (Lai 1976).

    The Bayes factor of a normal prior on the standardised effect with the right Haar prior on the scale is a martingale
    under "no effect" (Wang & Ramdas, arXiv 2310.03722): it exceeds 1 / alpha at any time with probability alpha.
    """
    growth = 1 + replicates * prior_variance
    ratio = (math.sqrt(growth) / alpha) ** (2 / replicates)
    if ratio >= growth:
        return math.inf
    return math.sqrt((replicates - 1) * (ratio - 1) / (1 - ratio / growth))


def stopping(studies: int, rng: np.random.Generator) -> None:
    """Print how many replicates decide under several stopping rules, for normal replicates with SD 1."""
    alpha = 1 - LEVEL
    schedule = _until(MOST_REPLICATES)
    rules: dict[str, list[tuple[int, float]]] = {
        "shares of legs": [(look.replicates, _t(alpha * look.share, look.replicates)) for look in _leg(schedule)],
        "alpha halved": [(look, _t(alpha / 2 ** (index + 1), look)) for index, look in enumerate(schedule)],
        "t mixture": [
            (look, t_mixture_critical(look, alpha=alpha, prior_variance=1.0)) for look in range(3, MOST_REPLICATES + 1)
        ],
        "no correction": [(look, _t(alpha, look)) for look in schedule],
    }
    noise = rng.normal(size=(studies, MOST_REPLICATES))
    print("rule              | effect: mean replicates until decided (wrong verdicts, %)")
    for name, rule in rules.items():
        told = [_until_decided(noise + effect, rule, effect) for effect in (0.0, 0.3, 0.5, 1.0, 2.0)]
        print(f"{name:17s} | " + "  ".join(told), flush=True)


def _until(most: int) -> list[int]:
    return list(itertools.takewhile(lambda look: look <= most, looks()))


def _leg(schedule: Sequence[int]) -> list[Look]:
    taken: list[Look] = []
    for replicates in schedule:
        taken.append(look_at(replicates, earlier=taken, final=False))
    return taken


def _t(alpha: float, replicates: int) -> float:
    return -float(stdtrit(replicates - 1, alpha / 2))


def _until_decided(values: npt.NDArray[np.float64], rule: Sequence[tuple[int, float]], effect: float) -> str:
    taken = np.full(len(values), MOST_REPLICATES)
    verdicts: list[str] = ["undecided"] * len(values)
    for look, critical in rule:
        part = values[:, :look]
        half_widths = critical * part.std(1, ddof=1) / math.sqrt(look)
        for study, (mean, half_width) in enumerate(zip(part.mean(1), half_widths, strict=True)):
            if verdicts[study] == "undecided":
                verdicts[study] = read_off(mean - half_width, mean + half_width, wished_gain=WISHED_GAIN)
                taken[study] = look
    false = {"hurts"} | ({"helps"} if effect == 0 else set())
    false |= {"no gain worth having"} if effect >= WISHED_GAIN else set()
    wrong = sum(verdict in false for verdict in verdicts) / len(verdicts)
    return f"{effect}: {taken.mean():5.1f} ({100 * wrong:.1f})"


TABLES: dict[str, Callable[[int, np.random.Generator], None]] = {
    "rows": rows,
    "learners": learners,
    "stopping": stopping,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies per line")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    TABLES[arguments.table](arguments.studies, np.random.default_rng(arguments.seed))


if __name__ == "__main__":
    main()
