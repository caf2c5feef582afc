"""Thresholds set on some planted generators and data sets, tried on others.

Each check is a rule: it fails where one of its scores is beyond a threshold. Here a threshold is set anew from some
judged generators: half way between the worst honest score and the least one of the planted generators beyond it, and
of the tests for copies the largest level that fails hardly any honest generator. It is then tried on what was left out.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from pydantic import BaseModel
from scipy import stats

from evaluation.audit import CONDUCT
from evaluation.checks import Check, CheckName
from evaluation.config import CheckThresholds
from evaluation.leaks import CopySearch
from evaluation.plants import COPY_CHECKS, Family, Plant
from evaluation.samples import SampleEvaluation

MOST_FALSE = 0.02  # of honest generators, by all of `CONDUCT` together
LEVELS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6)  # of a test for copies
SHIPPED = CheckThresholds()
CERTAIN = 99.0  # score of what needs no test: copies pixel by pixel


class Judged(BaseModel, frozen=True, extra="forbid"):
    """One generator of one cell, and what the checks found.

    Attributes:
        expected: checks that must fail it; none for an honest one.
        scores: by name (`RULES`), larger is worse; what could not be measured is left out.
        failed: checks that it failed with the thresholds that ship.
    """

    dataset: str
    seed: int
    generator: str
    family: Family
    expected: tuple[CheckName, ...]
    scores: Mapping[str, float]
    failed: tuple[CheckName, ...]

    @classmethod
    def of(cls, plant: Plant, evaluation: SampleEvaluation, *, dataset: str, seed: int) -> Self:
        """Take the scores from what was measured."""
        return cls(
            dataset=dataset,
            seed=seed,
            generator=plant.generator,
            family=plant.family,
            expected=plant.expected,
            scores=scores_of(evaluation),
            failed=tuple(check.name for check in evaluation.checks if check.passed is False),
        )

    @property
    def kind(self) -> str:
        """What was done to it: plants of one kind differ in how much."""
        name = self.generator.partition(", ")[2] or self.generator
        return next((kind for kind in ("collapsed", "prototypes") if kind in name), name)


@dataclass(frozen=True)
class Rule:
    """One score of a check.

    Attributes:
        shipped: the threshold that ships.
        is_level: whether the score is -log10 of a p-value.
    """

    check: CheckName
    shipped: float
    is_level: bool = False


def _rules() -> dict[str, Rule]:
    rules = {
        "not constant": Rule("not constant", SHIPPED.max_constant_share),
        "test set unseen": Rule("test set unseen", SHIPPED.max_test_preference),
        "no data copying": Rule("no data copying", SHIPPED.max_nearer_probability),
        "no data copying in features": Rule("no data copying in features", SHIPPED.max_nearer_probability),
        "no duplicates": Rule("no duplicates", SHIPPED.max_duplicated_share),
        "realistic": Rule("realistic", -SHIPPED.min_density_ratio),
        "covers the data": Rule("covers the data", -SHIPPED.min_coverage_ratio),
        "every class is there": Rule("every class is there", -SHIPPED.min_class_share),
        "varied in every class": Rule("varied in every class", -SHIPPED.min_class_variety),
        "labels are right": Rule("labels are right", SHIPPED.max_label_disagreement),
        "labels are right in every class": Rule("labels are right in every class", SHIPPED.max_class_disagreement),
    }
    for check in COPY_CHECKS:
        rules[check] = Rule(check, -math.log10(SHIPPED.copy_significance), is_level=True)
        rules[f"{check}, all alike"] = Rule(check, SHIPPED.max_alike_probability)
    return rules


RULES = _rules()
Thresholds = Mapping[str, float]
SHIPPED_THRESHOLDS: Thresholds = {name: rule.shipped for name, rule in RULES.items()}
LESS_IS_WORSE = ("realistic", "covers the data", "every class is there", "varied in every class")


def scores_of(evaluation: SampleEvaluation) -> dict[str, float]:
    """Return the scores of one synthetic set; where a check's test rejects nothing, its score is the usual one."""
    scores: dict[str, float] = {}
    for check in evaluation.checks:
        if check.name not in COPY_CHECKS and check.figure is not None:
            scores[check.name] = _score(check)
    leaks = evaluation.leaks
    for name, search in zip(COPY_CHECKS, (leaks.training, leaks.pool, leaks.test), strict=True):
        scores |= _copying_scores(name, search)
    return scores


def _score(check: Check) -> float:
    assert check.figure is not None
    copying = check.name.startswith("no data copying")
    level = SHIPPED.rejected if copying else SHIPPED.significance
    rejects = check.p_value is None or check.p_value < level
    if check.name in LESS_IS_WORSE:
        return -check.figure if rejects else -max(1.0, check.figure)
    if not rejects:
        return min(0.5, check.figure) if copying else 0.0
    return abs(check.figure) if check.name == "test set unseen" else check.figure


def _copying_scores(name: str, search: CopySearch) -> dict[str, float]:
    certain = search.exact > 0 and search.exact_unseen == 0
    scores = {}
    if search.p_value is not None:
        scores[name] = CERTAIN if certain else min(CERTAIN, -math.log10(max(search.p_value, 1e-300)))
    elif certain:
        scores[name] = CERTAIN
    if search.alike_probability is not None and search.alike_p_value is not None:
        rejects = search.alike_p_value < SHIPPED.rejected
        scores[f"{name}, all alike"] = search.alike_probability if rejects else min(0.5, search.alike_probability)
    return scores


def fails(one: Judged, checks: Collection[CheckName], thresholds: Thresholds) -> bool:
    """Tell whether one of the checks fails a generator."""
    return any(
        one.scores[name] > thresholds[name]
        for name, rule in RULES.items()
        if rule.check in checks and name in one.scores
    )


def is_caught(one: Judged, thresholds: Thresholds) -> bool:
    """Tell whether every check that must fail a planted generator does."""
    return all(fails(one, (check,), thresholds) for check in one.expected)


def is_false_alarm(one: Judged, thresholds: Thresholds) -> bool:
    """Tell whether an honest generator is failed by a check that asks what it has seen; real images, by any."""
    checks: Collection[CheckName] = CONDUCT
    if one.generator.startswith("real"):
        checks = {rule.check for rule in RULES.values()}
    return fails(one, checks, thresholds)


def set_thresholds(some: Sequence[Judged]) -> Thresholds:
    """Set every threshold from `some`; where none of their plants is meant for a check, what ships stays."""
    return {name: _threshold(name, rule, some) for name, rule in RULES.items()}


def _threshold(name: str, rule: Rule, some: Sequence[Judged]) -> float:
    honest = [
        one.scores[name]
        for one in some
        if name in one.scores and not one.expected and (rule.check in CONDUCT or one.generator.startswith("real"))
    ]
    planted = [one.scores[name] for one in some if name in one.scores and rule.check in one.expected]
    if not honest or not planted:
        return rule.shipped
    if rule.is_level:
        allowed = MOST_FALSE / len(COPY_CHECKS)
        levels = [-math.log10(level) for level in LEVELS]
        return next((level for level in levels if _share(honest, level) <= allowed), levels[-1])
    worst = max(honest)
    beyond = [score for score in planted if score > worst]
    return (worst + min(beyond)) / 2 if beyond else rule.shipped


def _share(scores: Sequence[float], threshold: float) -> float:
    return sum(score > threshold for score in scores) / len(scores)


def tables(found: Sequence[Judged]) -> list[str]:
    """Return the tables in Markdown: what ships, one data set left out, one kind of plant left out."""
    datasets = sorted({one.dataset for one in found})
    kinds = list(dict.fromkeys(one.kind for one in found if one.expected))
    every = _table("thresholds that ship", {name: (_of(found, name), SHIPPED_THRESHOLDS) for name in datasets})
    without = {
        name: (_of(found, name), set_thresholds([one for one in found if one.dataset != name])) for name in datasets
    }
    caught = []
    for kind in kinds:
        thresholds = set_thresholds([one for one in found if one.kind != kind])
        of_kind = [one for one in found if one.kind == kind]
        caught.append(
            f"| {kind} | {_count(of_kind, partial(is_caught, thresholds=thresholds))} | "
            f"{_count(of_kind, partial(is_caught, thresholds=SHIPPED_THRESHOLDS))} |"
        )
    left_out = ["| kind of plant left out | caught | with what ships |", "|---|---|---|", *caught]
    return [*every, "", *_table("data set left out", without), "", *left_out]


def _of(found: Sequence[Judged], dataset: str) -> list[Judged]:
    return [one for one in found if one.dataset == dataset]


def _table(title: str, rows: Mapping[str, tuple[Sequence[Judged], Thresholds]]) -> list[str]:
    families: tuple[Family, ...] = ("copies", "coverage", "labels", "quality")
    lines = [
        f"| {title} | {' | '.join(f'{family} caught' for family in families)} "
        "| false alarms: GAN | mixture | real images |",
        "|---" * (4 + len(families)) + "|",
    ]
    honest: dict[str, list[bool]] = {"a quick GAN": [], "a mixture": [], "real": []}
    for name, (judged, thresholds) in rows.items():
        caught = [
            _count([one for one in judged if one.family == family], partial(is_caught, thresholds=thresholds))
            for family in families
        ]
        alarms = []
        for start, told in honest.items():
            some = [is_false_alarm(one, thresholds) for one in judged if one.generator.startswith(start)]
            told += some
            alarms.append(f"{sum(some)} of {len(some)}")
        lines.append(f"| {name} | {' | '.join([*caught, *alarms])} |")
    made = honest["a quick GAN"] + honest["a mixture"]
    of_all = f"{_rate(made)} of the generators, {_rate(honest['real'])} of the sets of real images"
    return [*lines, "", f"False alarms in all: {of_all}."]


def _count(some: Sequence[Judged], holds: Callable[[Judged], bool]) -> str:
    return f"{sum(holds(one) for one in some)} of {len(some)}" if some else "–"  # noqa: RUF001


def _rate(alarms: Sequence[bool]) -> str:
    if not alarms:
        return "none"
    high = stats.binomtest(sum(alarms), len(alarms)).proportion_ci(0.95, method="exact").high
    return f"{sum(alarms)} of {len(alarms)} ({sum(alarms) / len(alarms):.1%}, 95% sure below {high:.1%})"
