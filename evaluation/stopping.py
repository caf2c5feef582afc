"""Looking more than once: how a study may stop when it is decided, and still keep its promise.

A study that is judged after 4, 6 and 9 replicates has three chances to be wrong. So all looks share one probability of
error alpha, and a look is judged at what is left of it for that look: the growth of a *spending function* since the
last look (Lan & DeMets 1983, Biometrika 70, 659, with the cautious start of O'Brien & Fleming 1979). Here it is a
function of the number of replicates R alone,

    spent(R) = alpha exp(-4 / R),

because nobody knows in advance how far a study will go, and it reaches alpha only for endless replicates. The sum over
looks is at most alpha, and so is the probability that any interval of any look misses (union bound). This asks nothing
of the joint distribution of the looks, so it holds for intervals with few degrees of freedom, errors of test images
that all looks share, and folds. Since all looks cover together, their `intersection` is an interval too, and what was
decided stays decided.

A study with a fixed number of replicates, and no look before, spends four fifths of alpha there and keeps the rest, so
that it can be extended: 3.6 % wider than one that nobody may extend with 20 replicates, 8 % with 5.

Measured (20,000 studies of normal replicates with SD 1, alpha 0.05, wished gain 0.7, looks at 4, 6, 9, ...): see
`python -m benchmarks.coverage stopping`. Looking after every replicate with an anytime-valid interval (t mixture; Lai
1976; Wang & Ramdas, arXiv 2310.03722) needs up to a tenth fewer replicates for middling effects, but its interval for a
study of 20 replicates is 1.6 times as wide, and it has no place for the errors that looks share. Halving alpha at each
look needs half as many again.
"""

import math
from collections.abc import Iterator, Sequence

SPENDING_SCALE = 4.0  # replicates at which 37 % of alpha is spent
PLANNED_SHARE = 0.8
GROWTH = 1.5
FIRST_LOOK = 4


def spent(replicates: int, *, planned: int | None = None) -> float:
    """Return the share of alpha that looks at up to so many replicates may spend together; increasing, below 1.

    Args:
        planned: the number of replicates that was fixed before the study began; None where it goes on until decided.
    """
    if planned is None:
        return math.exp(-SPENDING_SCALE / replicates)
    if replicates <= planned:
        return PLANNED_SHARE * math.exp(-SPENDING_SCALE * (1 / replicates - 1 / planned))
    return 1 - (1 - PLANNED_SHARE) * planned / replicates


def alpha_of_look(replicates: int, *, alpha: float, earlier: Sequence[int] = (), planned: int | None = None) -> float:
    """Return the probability of error for a look.

    Args:
        replicates: that the look takes in.
        alpha: for all looks together.
        earlier: the replicates of every look before, in any order; a look at the same number is the same look.
        planned: see `spent`; the same at every look of a study.

    Raises:
        ValueError: a look before took in more replicates.
    """
    before = [look for look in earlier if look != replicates]
    if any(look > replicates for look in before):
        raise ValueError(f"a look at {replicates} replicates cannot follow one at {max(before)}")
    share = spent(replicates, planned=planned)
    return alpha * (share - (spent(max(before), planned=planned) if before else 0.0))


def looks(*, first: int = FIRST_LOOK, multiple_of: int = 1, after: int = 0) -> Iterator[int]:
    """Yield the numbers of replicates at which to look, each at least half as many again as the one before.

    Args:
        first: the first look; with fewer, a t interval at what may be spent decides next to nothing.
        multiple_of: the number of folds, where only whole repeats count.
        after: replicates that were looked at already; 0 where none.
    """
    least = max(first, math.ceil(GROWTH * after), after + 1)
    while True:
        look = multiple_of * math.ceil(least / multiple_of)
        yield look
        least = max(math.ceil(GROWTH * look), look + 1)


def intersection(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return what the intervals of all looks leave, oldest first; where they leave nothing, the last one stands."""
    low, high = max(low for low, _ in intervals), min(high for _, high in intervals)
    return (low, high) if low <= high else intervals[-1]
