"""Comparison of several runs: what differs between their results, how surely, and what differs in configuration.

The first run is the base that each later one is held against. Where two runs drew the same subsets, their replicates
are pairs and the difference gets a paired t interval; otherwise Welch's (Welch 1947). Folds of one data set
are not independent of each other, and both intervals are wider for it (Nadeau & Bengio 2003;
`evaluation.facts.DesignFacts.shared`). Elsewhere the interval is about the test images at hand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from pydantic import BaseModel
from scipy import stats

from data.base.errors import UsageError
from evaluation.arms import ArmName
from evaluation.facts import DesignFacts
from evaluation.gains import Gain
from evaluation.reporting.report import RegimeReport, StudyReport, flatten_config, in_points
from evaluation.reporting.wording import Wording
from evaluation.verdicts import Verdict

COMPARISON_VERSION = 2
HEADLINE = "headline gain"
MIN_TREND_RUNS = 3
NEGLIGIBLE = 1e-12  # spread of differences that float rounding alone can give

Change = Literal["better", "worse", "no measurable difference", "not available"]


@dataclass(frozen=True, kw_only=True)
class NamedReport:
    """A run's report under the name that people know it by; `link` leads from the comparison's page to its page."""

    name: str
    link: str
    report: StudyReport


class RunFacts(BaseModel, frozen=True, extra="forbid"):
    """One of the compared runs."""

    name: str
    link: str
    dataset: str
    generator: str
    verdict: Verdict
    sentence: str
    protocol: str
    train_digest: str
    test_digest: str


class RunResult(BaseModel, frozen=True, extra="forbid"):
    """What one run found in one regime: the headline gain, over which arm, and the mean accuracy of each arm."""

    run: str
    num_replicates: int
    headline: Gain
    over: ArmName
    accuracy: dict[ArmName, float]


class Difference(BaseModel, frozen=True, extra="forbid"):
    """A later run against the first, in one regime.

    Attributes:
        quantity: "headline gain", or "accuracy of <arm>"; a share in [0, 1].
        paired: whether the subsets are the same, so that replicates are pairs; replicates that only one of the runs
            has are then left out.
        low, high: the interval, corrected (Bonferroni) over the regimes of this run; for accuracies over the arms too.
        change: what the interval says about `run` as seen from `base`.
        unavailable: why there is no interval, or "".
    """

    run: str
    base: str
    regime: str
    quantity: str
    paired: bool
    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    p_corrected: float | None
    change: Change
    unavailable: str


class Best(BaseModel, frozen=True, extra="forbid"):
    """The run with the largest headline gain in a regime; `clear` where it beats the second beyond the interval."""

    regime: str
    run: str
    gain: float
    second: str
    clear: bool


class Trend(BaseModel, frozen=True, extra="forbid"):
    """Least-squares slope of the headline gain over the runs in their given order, per run, with its t interval."""

    regime: str
    num_runs: int
    slope: float
    low: float
    high: float
    p_value: float


class RegimeComparison(BaseModel, frozen=True, extra="forbid"):
    """All runs in one regime that the first run and at least one later run have; `trend` with 3 runs or more.

    Attributes:
        about: what the intervals of differences take in, in words.
    """

    name: str
    title: str
    about: str
    results: tuple[RunResult, ...]
    best: Best
    trend: Trend | None


class ConfigDifference(BaseModel, frozen=True, extra="forbid"):
    """A dotted key with one value per run, None where a run lacks it."""

    key: str
    values: tuple[str | None, ...]


class Comparison(BaseModel, frozen=True, extra="forbid"):
    """The whole comparison, as in its JSON file.

    Attributes:
        forced: compared although `reasons` speak against it.
        regressions: sentences on every later run whose headline gain, or accuracy of an arm, is worse than the
            first's beyond the interval.
    """

    comparison_version: int
    forced: bool
    reasons: tuple[str, ...]
    confidence: float
    runs: tuple[RunFacts, ...]
    regimes: tuple[RegimeComparison, ...]
    differences: tuple[Difference, ...]
    configuration: tuple[ConfigDifference, ...]
    regressions: tuple[str, ...]

    @property
    def rivals(self) -> str:
        """What headline gains are over, in words."""
        generators = {run.generator for run in self.runs}
        return f"the best arm that {Wording(*generators).needs_none if len(generators) == 1 else 'needs no generator'}"

    @property
    def unjudged(self) -> str:
        """Why no later run can be told to be worse or not, "" where one can."""
        if any(not difference.unavailable for difference in self.differences):
            return ""
        return next((difference.unavailable for difference in self.differences), "the runs share no figure")

    def difference(self, *, run: str, regime: str, quantity: str = HEADLINE) -> Difference | None:
        """Return how `run` differs from the first in `regime`, if both have it."""
        found = (d for d in self.differences if (d.run, d.regime, d.quantity) == (run, regime, quantity))
        return next(found, None)


def compare_reports(runs: Sequence[NamedReport], *, force: bool) -> Comparison:
    """Compare every later run with the first.

    Args:
        force: compare even where data or protocol differ; the result says so.

    Raises:
        UsageError: fewer than two runs, no regime in common, or data or protocol differ.
    """
    if len(runs) < 2:
        raise UsageError("compare needs two runs or more; name another run directory")
    reasons = incompatibilities(runs)
    if reasons and not force:
        raise UsageError(f"these runs cannot be compared: {'; '.join(reasons)}. To compare them all the same: --force")
    shared = _shared_regimes(runs)
    if not shared:
        raise UsageError(f"no later run has a regime of {runs[0].name}: there is nothing to compare")
    confidence = runs[0].report.confidence
    titles = {regime.name: regime.title for regime in shared}
    differences = [
        difference for run in runs[1:] for difference in _run_differences(runs[0], run, confidence=confidence)
    ]
    return Comparison(
        comparison_version=COMPARISON_VERSION,
        forced=bool(reasons),
        reasons=tuple(reasons),
        confidence=confidence,
        runs=tuple(_facts(run) for run in runs),
        regimes=tuple(_regime_comparison(regime, runs, confidence=confidence) for regime in shared),
        differences=tuple(differences),
        configuration=tuple(config_differences(runs)),
        regressions=tuple(_regression_sentence(d, titles[d.regime]) for d in differences if d.change == "worse"),
    )


def incompatibilities(runs: Sequence[NamedReport]) -> list[str]:
    """Say what forbids comparing each later run with the first: other data, another protocol, or other code."""
    reasons = []
    first = runs[0].report
    for run in runs[1:]:
        other = run.report
        for split, ours, theirs in (
            ("train", first.dataset.train_digest, other.dataset.train_digest),
            ("test", first.dataset.test_digest, other.dataset.test_digest),
        ):
            if ours != theirs:
                reasons.append(
                    f"{run.name} has another {split} split ({other.dataset.name}, {theirs[:8]}) than {runs[0].name} "
                    f"({first.dataset.name}, {ours[:8]})"
                )
        same_data = (first.dataset.train_digest, first.dataset.test_digest) == (
            other.dataset.train_digest,
            other.dataset.test_digest,
        )
        if same_data and first.protocol != other.protocol:
            keys = [d for d in config_differences([runs[0], run]) if d.key.startswith("evaluation.")]
            changed = ", ".join(f"{d.key} is {d.values[1]}, not {d.values[0]}" for d in keys[:3])
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            reasons.append(
                f"{run.name} was measured by another protocol than {runs[0].name} ({changed or 'unknown'}{more})"
            )
        before, now = named_code(first), named_code(other)
        reasons += [
            f"{run.name} ran another version of {name} ({', '.join(digest[:8] for digest in now[name])}) than "
            f"{runs[0].name} ({', '.join(digest[:8] for digest in before[name])})"
            for name in before
            if name in now and before[name] != now[name]
        ]
    return reasons


def named_code(report: StudyReport) -> dict[str, tuple[str, ...]]:
    """Return the digests of code of the user's own that the cells of a study ran, by name."""
    found: dict[str, tuple[str, ...]] = {}
    for cell in report.cells:
        for name, digest in cell.named_code.items():
            found[name] = tuple(dict.fromkeys([*found.get(name, ()), digest]))
    return found


def config_differences(runs: Sequence[NamedReport]) -> list[ConfigDifference]:
    """Return the configuration keys whose values are not the same in all runs."""
    flat = [flatten_config(run.report.config) for run in runs]
    keys = dict.fromkeys(key for config in flat for key in config)
    differences = [ConfigDifference(key=key, values=tuple(config.get(key) for config in flat)) for key in keys]
    return [difference for difference in differences if len(set(difference.values)) > 1]


@dataclass(frozen=True, kw_only=True)
class _Estimate:
    """A difference before it is judged."""

    paired: bool
    mean: float
    standard_error: float
    degrees: float
    unavailable: str

    @property
    def p_value(self) -> float | None:
        if self.unavailable:
            return None
        if self.standard_error == 0:
            return 1.0
        return float(2 * stats.t.sf(abs(self.mean) / self.standard_error, self.degrees))

    def half_width(self, level: float) -> float:
        return float(stats.t.ppf(1 - level / 2, self.degrees)) * self.standard_error


def _run_differences(base: NamedReport, run: NamedReport, *, confidence: float) -> list[Difference]:
    regimes = [regime for regime in base.report.regimes if _regime(run, regime.name)]
    arms = [arm.name for arm in base.report.regimes[0].arms]
    quantities = [HEADLINE, *(f"accuracy of {arm}" for arm in arms if _has_arm(run, arm))]
    found = []
    for family in (quantities[:1], quantities[1:]):
        places = [(quantity, regime) for quantity in family for regime in regimes]
        estimates = [_estimate(base, run, regime=regime.name, quantity=quantity) for quantity, regime in places]
        tests = max(1, sum(estimate.p_value is not None for estimate in estimates))
        for (quantity, regime), estimate in zip(places, estimates, strict=True):
            low = high = corrected = None
            if estimate.p_value is not None:
                half, corrected = estimate.half_width((1 - confidence) / tests), min(1.0, tests * estimate.p_value)
                low, high = estimate.mean - half, estimate.mean + half
            found.append(
                Difference(
                    run=run.name,
                    base=base.name,
                    regime=regime.name,
                    quantity=quantity,
                    paired=estimate.paired,
                    mean=estimate.mean,
                    low=low,
                    high=high,
                    p_value=estimate.p_value,
                    p_corrected=corrected,
                    change=_change(low, high),
                    unavailable=estimate.unavailable,
                )
            )
    return found


def _estimate(base: NamedReport, run: NamedReport, *, regime: str, quantity: str) -> _Estimate:
    ours, theirs = (_values(side, regime=regime, quantity=quantity) for side in (base, run))
    places = _same_subsets(base, run, regime=regime)
    shared = _shared_regime(base, regime).design.shared, _shared_regime(run, regime).design.shared
    if len(places) == min(len(ours), len(theirs)):
        return _paired(np.array([theirs[place] - ours[place] for place in places]), shared=max(shared))
    return _welch(ours, theirs, shared=shared)


def _paired(differences: np.ndarray[tuple[int], np.dtype[np.float64]], *, shared: float) -> _Estimate:
    count = len(differences)
    mean = float(differences.mean())
    constant = float(np.ptp(differences)) < NEGLIGIBLE
    reason = ""
    if count < 2:
        reason = "an interval needs 2 replicates or more"
    elif constant and abs(mean) >= NEGLIGIBLE:
        reason = "every replicate gave the same difference, so its spread cannot be estimated"
    error = 0.0 if constant or count < 2 else float(differences.std(ddof=1)) * math.sqrt(1 / count + shared)
    return _Estimate(paired=True, mean=mean, standard_error=error, degrees=max(count - 1, 1), unavailable=reason)


def _welch(
    ours: np.ndarray[tuple[int], np.dtype[np.float64]],
    theirs: np.ndarray[tuple[int], np.dtype[np.float64]],
    *,
    shared: tuple[float, float],
) -> _Estimate:
    mean = float(theirs.mean() - ours.mean())
    if min(len(ours), len(theirs)) < 2:
        reason = "an interval needs 2 replicates or more in both runs"
        return _Estimate(paired=False, mean=mean, standard_error=0.0, degrees=1, unavailable=reason)
    parts = [
        float(side.var(ddof=1)) * (1 / len(side) + part) for side, part in zip((ours, theirs), shared, strict=True)
    ]
    if sum(parts) < NEGLIGIBLE**2:
        reason = (
            "no replicate differs within its run, so the spread cannot be estimated" if abs(mean) >= NEGLIGIBLE else ""
        )
        return _Estimate(paired=False, mean=mean, standard_error=0.0, degrees=1, unavailable=reason)
    degrees = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (ours, theirs), strict=True))
    return _Estimate(paired=False, mean=mean, standard_error=math.sqrt(sum(parts)), degrees=degrees, unavailable="")


def _change(low: float | None, high: float | None) -> Change:
    if low is None or high is None:
        return "not available"
    return "better" if low > 0 else "worse" if high < 0 else "no measurable difference"


def _regime_comparison(regime: RegimeReport, runs: Sequence[NamedReport], *, confidence: float) -> RegimeComparison:
    having = [(run, found) for run in runs if (found := _regime(run, regime.name)) is not None]
    results = [
        RunResult(
            run=run.name,
            num_replicates=found.num_replicates,
            headline=found.headline,
            over=found.over,
            accuracy={arm.name: arm.accuracy.mean for arm in found.arms},
        )
        for run, found in having
    ]
    first, second = sorted(having, key=lambda pair: -pair[1].headline.mean)[:2]
    lead = _estimate(second[0], first[0], regime=regime.name, quantity=HEADLINE)
    clear = lead.p_value is not None and lead.mean > lead.half_width(1 - confidence) > 0
    best = Best(regime=regime.name, run=first[0].name, gain=first[1].headline.mean, second=second[0].name, clear=clear)
    return RegimeComparison(
        name=regime.name,
        title=regime.title,
        about=_about([found.design for _, found in having]),
        results=tuple(results),
        best=best,
        trend=_trend(regime.name, [found.headline.mean for _, found in having], confidence=confidence),
    )


def _about(designs: Sequence[DesignFacts]) -> str:
    if any(design.folds > 1 for design in designs):
        return (
            "Folds are of one data set and not independent of each other, so the intervals are wider than those of "
            "independent replicates (Nadeau and Bengio 2003)."
        )
    same = all(design.drawn_share >= 1 for design in designs)
    return (
        f"The intervals are about {'these training images' if same else 'draws from this pool'} and these test images; "
        "how much others matter is part of each run's own interval."
    )


def _trend(regime: str, gains: Sequence[float], *, confidence: float) -> Trend | None:
    if len(gains) < MIN_TREND_RUNS:
        return None
    if all(abs(after - before) < NEGLIGIBLE for before, after in pairwise(gains)):
        return Trend(regime=regime, num_runs=len(gains), slope=0.0, low=0.0, high=0.0, p_value=1.0)
    line = stats.linregress(range(len(gains)), gains)
    half = float(stats.t.ppf((1 + confidence) / 2, len(gains) - 2)) * float(line.stderr)
    slope = float(line.slope)
    return Trend(
        regime=regime, num_runs=len(gains), slope=slope, low=slope - half, high=slope + half, p_value=float(line.pvalue)
    )


def _regression_sentence(difference: Difference, title: str) -> str:
    assert difference.low is not None  # a change was measured
    assert difference.high is not None
    return (
        f"{difference.run} is worse than {difference.base} with {title}: "
        f"{difference.quantity} changed by {in_points(difference.mean)} points "
        f"(interval {in_points(difference.low)} to {in_points(difference.high)})"
    )


def _shared_regimes(runs: Sequence[NamedReport]) -> list[RegimeReport]:
    return [regime for regime in runs[0].report.regimes if any(_regime(run, regime.name) for run in runs[1:])]


def _regime(run: NamedReport, name: str) -> RegimeReport | None:
    return next((regime for regime in run.report.regimes if regime.name == name), None)


def _shared_regime(run: NamedReport, name: str) -> RegimeReport:
    found = _regime(run, name)
    assert found is not None  # callers ask for shared regimes only
    return found


def _has_arm(run: NamedReport, arm: ArmName) -> bool:
    return all(any(found.name == arm for found in regime.arms) for regime in run.report.regimes)


def _same_subsets(base: NamedReport, run: NamedReport, *, regime: str) -> list[int]:
    """Return the places of the replicates that drew the same images in both runs."""
    ours, theirs = ([cell.subset for cell in side.report.cells if cell.regime == regime] for side in (base, run))
    return [place for place, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one == other]


def _values(run: NamedReport, *, regime: str, quantity: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    found = _shared_regime(run, regime)
    if quantity == HEADLINE:
        return np.array(found.headline.values)
    name = quantity.removeprefix("accuracy of ")
    return np.array(next(arm.accuracy.values for arm in found.arms if arm.name == name))


def _facts(run: NamedReport) -> RunFacts:
    report = run.report
    return RunFacts(
        name=run.name,
        link=run.link,
        dataset=report.dataset.name,
        generator=report.generator,
        verdict=report.verdict,
        sentence=report.sentence,
        protocol=report.protocol,
        train_digest=report.dataset.train_digest,
        test_digest=report.dataset.test_digest,
    )
