"""The study's report as data: `report.json`, computed from stored predictions alone.

Everything in it but `timings` is a function of configuration, data and code, so a resumed study ends with the same
report as an uninterrupted one. Accuracies and gains are shares in [0, 1]; pages show them as percent and points.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from data.base.errors import CorruptFileError
from data.base.files import digest_json, read_json
from evaluation.arms import ARMS, HEADLINE_ARM, ArmName
from evaluation.facts import CellFacts, DatasetFacts, StageTiming
from evaluation.statistics import Gain, Spread, Verdict, paired_gains, spread

REPORT_VERSION = 1
METRICS = ("accuracy", "macro_f1", "tail_recall")


class ArmReport(BaseModel, frozen=True, extra="forbid"):
    """One arm of one regime, over its replicates; the gains are paired with the arm `reference`.

    Attributes:
        tail_recall: mean recall over the rarest third of the classes; None where classes have as many images.
    """

    name: ArmName
    accuracy: Spread
    macro_f1: Spread
    reference: ArmName | None
    accuracy_gain: Gain | None
    macro_f1_gain: Gain | None
    tail_recall: Spread | None = None
    tail_recall_gain: Gain | None = None


class RegimeReport(BaseModel, frozen=True, extra="forbid"):
    """What the study found at one amount of labelled data; `tail` has the labels of the rarest third of the classes."""

    name: str
    title: str
    num_replicates: int
    arms: tuple[ArmReport, ...]
    headline: Gain
    sentence: str
    tail: tuple[int, ...] = ()

    def arm(self, name: ArmName) -> ArmReport:
        """Return the report of the arm `name`."""
        return next(arm for arm in self.arms if arm.name == name)


class StudyReport(BaseModel, frozen=True, extra="forbid"):
    """The whole `report.json`.

    Attributes:
        protocol: digest of what makes two reports comparable: test data, arms, classifier, measurement.
        timings: what each stage of each cell cost; all that differs between repetitions.
    """

    report_version: int
    verdict: Verdict
    sentence: str
    dataset: DatasetFacts
    confidence: float
    protocol: str
    regimes: tuple[RegimeReport, ...]
    cells: tuple[CellFacts, ...]
    config: dict[str, Any]
    timings: dict[str, dict[str, StageTiming]]


def build_report(
    cells: Sequence[CellFacts],
    *,
    regime_titles: Mapping[str, str],
    dataset: DatasetFacts,
    config: Mapping[str, Any],
    timings: Mapping[str, Mapping[str, StageTiming]],
) -> StudyReport:
    """Compute the report from the finished cells.

    Args:
        regime_titles: regime name to title, in the order of the report.
        config: the study's resolved configuration as JSON values.
        timings: cell name to stage name to what the stage cost.
    """
    evaluation = config["evaluation"]
    confidence = float(evaluation["confidence"])
    by_regime = {name: [cell for cell in cells if cell.regime == name] for name in regime_titles}
    arms: list[ArmName] = [arm for arm in ARMS if arm in evaluation["arms"]]
    gains = {
        (name, arm, metric): gain
        for arm in arms
        for metric in METRICS
        for name, gain in _gains(by_regime, arm=arm, metric=metric, evaluation=evaluation).items()
    }
    regimes = []
    for name, title in regime_titles.items():
        group = by_regime[name]
        headline = gains[name, HEADLINE_ARM, "accuracy"]
        regimes.append(
            RegimeReport(
                name=name,
                title=title,
                num_replicates=len(group),
                arms=tuple(
                    ArmReport(
                        name=arm,
                        accuracy=spread([cell.metrics[arm]["accuracy"] for cell in group]),
                        macro_f1=spread([cell.metrics[arm]["macro_f1"] for cell in group]),
                        tail_recall=spread([cell.metrics[arm]["tail_recall"] for cell in group])
                        if _have(group, arm, "tail_recall")
                        else None,
                        reference=ARMS[arm].reference,
                        accuracy_gain=gains.get((name, arm, "accuracy")),
                        macro_f1_gain=gains.get((name, arm, "macro_f1")),
                        tail_recall_gain=gains.get((name, arm, "tail_recall")),
                    )
                    for arm in arms
                ),
                headline=headline,
                sentence=verdict_sentence(headline, title=title, confidence=confidence),
                tail=group[0].tail,
            )
        )
    return StudyReport(
        report_version=REPORT_VERSION,
        verdict=overall_verdict([regime.headline.verdict for regime in regimes]),
        sentence=" ".join(regime.sentence for regime in regimes),
        dataset=dataset,
        confidence=confidence,
        protocol=_protocol(dataset, evaluation),
        regimes=tuple(regimes),
        cells=tuple(cells),
        config=dict(config),
        timings={cell: dict(stages) for cell, stages in timings.items()},
    )


def _protocol(dataset: DatasetFacts, evaluation: Mapping[str, Any]) -> str:
    """Digest what two reports must share to be compared; how samples are judged moves no gain."""
    measured = {name: value for name, value in evaluation.items() if name not in ("samples", "wished_gain")}
    return digest_json({"test": dataset.test_digest, "train": dataset.train_digest, "evaluation": measured})


def _gains(
    by_regime: Mapping[str, Sequence[CellFacts]], *, arm: ArmName, metric: str, evaluation: Mapping[str, Any]
) -> dict[str, Gain]:
    """Return the arm's gain in each regime that has the metric; none for an arm without a reference."""
    reference = ARMS[arm].reference
    if reference is None:
        return {}
    families = {
        name: [cell.metrics[arm][metric] - cell.metrics[reference][metric] for cell in cells]
        for name, cells in by_regime.items()
        if _have(cells, arm, metric)
    }
    gains = paired_gains(
        list(families.values()),
        confidence=float(evaluation["confidence"]),
        wished_gain=float(evaluation["wished_gain"]),
    )
    return dict(zip(families, gains, strict=True))


def _have(cells: Sequence[CellFacts], arm: ArmName, metric: str) -> bool:
    return all(metric in cell.metrics[arm] for cell in cells)


def overall_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Return one word for the study: it hurts if any regime does, helps if any does and none hurts."""
    order: tuple[Verdict, ...] = ("hurts", "helps", "no measurable difference", "not available")
    return next(verdict for verdict in order if verdict in verdicts)


def verdict_sentence(gain: Gain, *, title: str, confidence: float) -> str:
    """Say in one sentence what the interval says; no stronger, no weaker."""
    points = f"{in_points(gain.mean)} points of accuracy over classical augmentation"
    if gain.low is None or gain.high is None:
        return f"With {title}, the gain is {points}, without an interval: {gain.unavailable}."
    interval = f"{confidence:.0%} interval {in_points(gain.low)} to {in_points(gain.high)}"
    replicates = f"{len(gain.values)} replicates"
    match gain.verdict:
        case "helps":
            return f"With {title}, GAN augmentation helps: {points} ({interval}, {replicates})."
        case "hurts":
            return f"With {title}, GAN augmentation hurts: {points} ({interval}, {replicates})."
        case _:
            return (
                f"With {title}, GAN augmentation makes no measurable difference: {points} ({interval}, {replicates})."
            )


def in_points(difference: float) -> str:
    """Write a difference of shares in percentage points with its sign, such as `+0.42`; what rounds to 0 is `+0.00`."""
    return f"{round(100 * difference, 2) + 0.0:+.2f}"


def flatten_config(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested configuration as dotted keys, with each value as people write it."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten_config(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            flat[prefix + key] = ", ".join(str(part) for part in value)
        else:
            flat[prefix + key] = str(value)
    return flat


def read_report(path: Path) -> StudyReport:
    """Read a `report.json`.

    Raises:
        CorruptFileError: missing, damaged, or written by another version.
    """
    content = read_json(path)
    found = content.get("report_version") if isinstance(content, dict) else None
    if found != REPORT_VERSION:
        raise CorruptFileError(f"{path} is a report of format {found}, this version reads {REPORT_VERSION}")
    try:
        return StudyReport.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CorruptFileError(f"{path} is not a study's report ({where}: {first['msg']})") from error
