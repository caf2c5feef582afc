"""The study's report as data: `report.json`, computed from stored predictions alone.

Everything in it but `timings` is a function of configuration, data and code, so a resumed study ends with the same
report as an uninterrupted one. Accuracies and gains are shares in [0, 1]; pages show them as percent and points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from data.base.errors import CorruptFileError
from data.base.files import digest_json, read_json
from evaluation.arms import (
    ARMS,
    CONTROL_ARM,
    EQUAL_COMPUTE_ARM,
    EVENED_OUT_ARM,
    HEADLINE_ARM,
    HEADLINE_REFERENCE,
    MORE_LABELS,
    ArmName,
)
from evaluation.class_gains import ClassGain
from evaluation.facts import CellFacts, DatasetFacts, DesignFacts, Looks, StageTiming, TakenLook
from evaluation.gains import Gain, Headline, MetricName, RegimeAnswers
from evaluation.intervals import NextDraw
from evaluation.metrics import tail_classes
from evaluation.policy import PolicyUse, policy_use
from evaluation.reporting.wording import GAN, Wording
from evaluation.statistics import Spread, spread
from evaluation.stopping import intersection, look_at
from evaluation.verdicts import Needed, Verdict, is_decided, read_off, regime_alpha
from evaluation.worth import LabelsWorth

REPORT_VERSION = 3
GAN_WORDING = Wording()
GAIN_METRICS: tuple[MetricName, ...] = ("accuracy", "macro_f1", "tail_recall")


class ArmReport(BaseModel, frozen=True, extra="forbid"):
    """One arm of one regime, over its replicates; the gains are paired with the arm `reference`.

    Attributes:
        accuracy: of each replicate, the mean over its classifier seeds.
        seeds: classifiers of the arm in each replicate.
        macro_f1: of each replicate or repeat of folds, which a mean over folds is not.
        tail_recall: mean recall over the rarest third of the classes, likewise; None where classes have as many images.
        ece, negative_log_likelihood, brier: calibration, means over replicates (see `evaluation.calibration`).
    """

    name: ArmName
    seeds: int
    accuracy: Spread
    macro_f1: Spread
    tail_recall: Spread | None
    ece: float
    negative_log_likelihood: float
    brier: float
    reference: ArmName | None
    accuracy_gain: Gain | None
    macro_f1_gain: Gain | None
    tail_recall_gain: Gain | None


class StudyCheck(BaseModel, frozen=True, extra="forbid"):
    """A check of the study itself.

    Attributes:
        passed: None where this study cannot tell.
    """

    name: str
    passed: bool | None
    detail: str


class BestGain(BaseModel, frozen=True, extra="forbid"):
    """The gain of an arm over the best of others.

    Attributes:
        over: the best one.
        num_rivals: how many others there are.
    """

    gain: Gain
    over: ArmName
    num_rivals: int


class UnlabelledGains(BaseModel, frozen=True, extra="forbid"):
    """What an arm with a GAN that has seen images without labels gains over arms without a GAN.

    Attributes:
        over_labelled: over the best arm that sees labelled images alone.
        over_partners: over the best arm that sees the images without labels too.
    """

    arm: ArmName
    over_labelled: BestGain
    over_partners: BestGain


class RegimeReport(BaseModel, frozen=True, extra="forbid"):
    """What the study found at one amount of labelled data.

    Attributes:
        headline: the gain of the headline arm over the best arm that needs no GAN, which is `over`.
        rivals: its gain over each arm that needs no GAN.
        class_gains: the gain over the reference in the recall of each class, in the order of the labels.
        labels_worth: what the gain is worth in labelled images per class; None where no arm had more of them.
        next_draw: what somebody with one data set of this size may expect.
        beside: the gain over the reference on the test split that the user gave, where folds were tested.
        unlabelled: what the GAN adds where there are images without labels; none in other studies.
        evened_out: the gain of the arm `evened-out` in macro-F1 over the best arm that needs no GAN; None in studies
            without it, and in reports of versions that held it against its reference only.
        tail: labels of the rarest third of the classes.
        augmentation: the policies of classical augmentation; None in runs of versions that had one policy only.
        resolved: what was decided where the configuration says "auto", the same in all replicates.
    """

    name: str
    title: str
    design: DesignFacts
    num_replicates: int
    arms: tuple[ArmReport, ...]
    headline: Gain
    over: ArmName
    rivals: dict[ArmName, Gain]
    needed: Needed | None
    sentence: str
    next_draw: NextDraw | None
    class_gains: tuple[ClassGain, ...]
    labels_worth: LabelsWorth | None
    beside: Gain | None
    unlabelled: tuple[UnlabelledGains, ...] = ()
    evened_out: BestGain | None = None
    checks: tuple[StudyCheck, ...]
    tail: tuple[int, ...]
    augmentation: PolicyUse | None = None
    resolved: dict[str, Any]

    def arm(self, name: ArmName) -> ArmReport | None:
        """Return the report of the arm `name`, None where the regime has no such arm."""
        return next((arm for arm in self.arms if arm.name == name), None)


class StudyReport(BaseModel, frozen=True, extra="forbid"):
    """The whole `report.json`.

    Attributes:
        protocol: digest of what makes two reports comparable: test data, arms, classifier, measurement.
        looks: the reports that the study made of itself before, and this one.
        timings: what each stage of each cell cost; all that differs between repetitions.
        generator: name of what made the synthetic images (see `evaluation.reporting.wording`).
    """

    report_version: int
    verdict: Verdict
    sentence: str
    dataset: DatasetFacts
    confidence: float
    protocol: str
    regimes: tuple[RegimeReport, ...]
    looks: Looks
    cells: tuple[CellFacts, ...]
    config: dict[str, Any]
    timings: dict[str, dict[str, StageTiming]]
    generator: str = GAN

    @property
    def arms(self) -> tuple[ArmName, ...]:
        """The arms that any regime has, in order."""
        found = {arm.name for regime in self.regimes for arm in regime.arms}
        return tuple(arm for arm in ARMS if arm in found)


@dataclass(frozen=True, kw_only=True)
class RegimeData:
    """What a report is computed from, of one regime.

    Attributes:
        answers: on the test images; `beside` on the test split that the user gave, where folds were tested.
    """

    title: str
    cells: Sequence[CellFacts]
    answers: RegimeAnswers
    beside: RegimeAnswers | None = None


def build_report(
    regimes: Mapping[str, RegimeData],
    *,
    dataset: DatasetFacts,
    config: Mapping[str, Any],
    looks: Looks,
    final: bool,
    timings: Mapping[str, Mapping[str, StageTiming]],
    generator: str = GAN,
) -> StudyReport:
    """Compute the report from the finished cells.

    Args:
        regimes: by name, in the order of the report.
        config: the study's resolved configuration as JSON values.
        looks: earlier ones; this one is added, unless it was taken before.
        final: whether this look ends what was asked for, whatever it shows.
        timings: cell name to stage name to what the stage cost.
        generator: name of what made the synthetic images.
    """
    evaluation = config["evaluation"]
    confidence, wished_gain = float(evaluation["confidence"]), float(evaluation["wished_gain"])
    replicates = max(len(data.cells) for data in regimes.values())
    earlier, look = looks.before(replicates), looks.at(replicates, final=final)
    after = look_at(replicates + 1, earlier=[*(taken.look for taken in earlier), look], final=True)
    alpha, later_alpha = (
        regime_alpha((1 - confidence) * share, num_regimes=len(regimes)) for share in (look.share, after.share)
    )
    asked = _Asked(
        confidence=confidence,
        alpha=alpha,
        later_alpha=later_alpha,
        wished_gain=wished_gain,
        earlier=earlier,
        wording=Wording(generator),
    )
    reports = tuple(
        _regime_report(name, data, design=dataset.designs[name], asked=asked) for name, data in regimes.items()
    )
    taken = TakenLook(
        look=look,
        intervals={
            regime.name: (regime.headline.low, regime.headline.high)
            for regime in reports
            if regime.headline.low is not None and regime.headline.high is not None
        },
        decided=tuple(regime.name for regime in reports if is_decided(regime.headline.verdict)),
    )
    return StudyReport(
        report_version=REPORT_VERSION,
        verdict=overall_verdict([regime.headline.verdict for regime in reports]),
        sentence=" ".join(regime.sentence for regime in reports),
        dataset=dataset,
        confidence=confidence,
        protocol=_protocol(dataset, evaluation),
        regimes=reports,
        looks=Looks(taken=(*earlier, taken)),
        cells=tuple(cell for data in regimes.values() for cell in data.cells),
        config=dict(config),
        timings={cell: dict(stages) for cell, stages in timings.items()},
        generator=generator,
    )


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is asked of every regime alike.

    Attributes:
        alpha: probability that a regime's interval misses at this look.
        later_alpha: the same at the next final one.
        earlier: looks that the study took before.
    """

    confidence: float
    alpha: float
    later_alpha: float
    wished_gain: float
    earlier: Sequence[TakenLook]
    wording: Wording


def _regime_report(name: str, data: RegimeData, *, design: DesignFacts, asked: _Asked) -> RegimeReport:
    cells, answers, wording = data.cells, data.answers, asked.wording
    alpha, wished_gain = asked.alpha, asked.wished_gain
    tail = _tail(cells, answers)
    arms = tuple(_arm_report(arm, data, alpha=alpha, wished_gain=wished_gain, tail=tail) for arm in answers.predicted)
    found = answers.headline(alpha=alpha, wished_gain=wished_gain, later_alpha=asked.later_alpha)
    headline = _over_all_looks(
        found, [taken.intervals[name] for taken in asked.earlier if name in taken.intervals], wished_gain
    )
    worth = answers.labels_worth(level=1 - alpha, per_class=float(np.mean(cells[0].class_counts or [0])))
    return RegimeReport(
        name=name,
        title=data.title,
        design=design,
        num_replicates=len(cells),
        arms=arms,
        headline=headline,
        over=found.over,
        rivals=found.rivals,
        needed=found.needed if headline.verdict == "undecided" else None,
        sentence=verdict_sentence(
            BestGain(gain=headline, over=found.over, num_rivals=len(found.rivals)),
            title=data.title,
            repeated=_repeated(design, len(cells)),
            confidence=asked.confidence,
            wished_gain=wished_gain,
            wording=wording,
        ),
        next_draw=None if design.name == "given test" else found.next_draw,
        class_gains=tuple(answers.class_gains(alpha=alpha)),
        labels_worth=worth,
        beside=None
        if data.beside is None
        else data.beside.gain(HEADLINE_ARM, HEADLINE_REFERENCE, alpha=alpha, wished_gain=wished_gain),
        unlabelled=_unlabelled_gains(answers, alpha=alpha, wished_gain=wished_gain),
        evened_out=_evened_out_gain(answers, alpha=alpha, wished_gain=wished_gain),
        checks=tuple(_study_checks({arm.name: arm for arm in arms}, wished_gain=wished_gain, wording=wording)),
        tail=tail,
        augmentation=policy_use([cell.policy for cell in cells if cell.policy is not None]),
        resolved=_shared([cell.resolved for cell in cells]),
    )


def _tail(cells: Sequence[CellFacts], answers: RegimeAnswers) -> tuple[int, ...]:
    """Return the rare classes that have test images, the same for all replicates.

    Of nearly balanced data, folds differ in which class they have fewest images of, and some have as many of each.
    """
    if not all(cell.class_counts for cell in cells):
        tail = cells[0].tail  # of versions that kept no counts
    else:
        tail = tuple(tail_classes(np.sum([cell.class_counts for cell in cells], axis=0, dtype=np.int64)).tolist())
    return tuple(label for label in tail if (answers.labels == label).any())


def _shared(decided: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in decided[0].items() if all(other.get(key) == value for other in decided)}


def _arm_report(
    arm: ArmName, data: RegimeData, *, alpha: float, wished_gain: float, tail: tuple[int, ...]
) -> ArmReport:
    reference = ARMS[arm].reference
    metrics = [cell.metrics[arm] for cell in data.cells]
    gains: dict[str, Gain] = {}
    if reference is not None:
        gains = {
            metric: data.answers.gain(arm, reference, alpha=alpha, wished_gain=wished_gain, metric=metric, tail=tail)
            for metric in GAIN_METRICS
            if metric != "tail_recall" or tail
        }
    return ArmReport(
        name=arm,
        seeds=data.answers.predicted[arm].shape[1],
        accuracy=spread([found["accuracy"] for found in metrics]),
        macro_f1=spread(data.answers.means(arm, "macro_f1")),
        tail_recall=spread(data.answers.means(arm, "tail_recall", tail=tail)) if tail else None,
        ece=float(np.mean([found["ece"] for found in metrics])),
        negative_log_likelihood=float(np.mean([found["negative_log_likelihood"] for found in metrics])),
        brier=float(np.mean([found["brier"] for found in metrics])),
        reference=reference,
        accuracy_gain=gains.get("accuracy"),
        macro_f1_gain=gains.get("macro_f1"),
        tail_recall_gain=gains.get("tail_recall"),
    )


def _unlabelled_gains(answers: RegimeAnswers, *, alpha: float, wished_gain: float) -> tuple[UnlabelledGains, ...]:
    """Hold the headline arm, and those that use images without labels themselves, against both kinds of rivals."""
    alone, partners = answers.rivals(with_unlabelled=False), answers.rivals(with_unlabelled=True)
    if not partners:
        return ()

    def over(arm: ArmName, rivals: Sequence[ArmName]) -> BestGain:
        return _best_gain(answers.over_best(arm, rivals, alpha=alpha, wished_gain=wished_gain))

    return tuple(
        UnlabelledGains(arm=arm, over_labelled=over(arm, alone), over_partners=over(arm, partners))
        for arm in answers.predicted
        if arm == HEADLINE_ARM or (ARMS[arm].needs_unlabelled and ARMS[arm].needs_generator)
    )


def _evened_out_gain(answers: RegimeAnswers, *, alpha: float, wished_gain: float) -> BestGain | None:
    """Hold the GAN's images in rare classes' place against every other way to deal with rare classes."""
    if EVENED_OUT_ARM not in answers.predicted:
        return None
    rivals = answers.rivals()
    return _best_gain(
        answers.over_best(EVENED_OUT_ARM, rivals, alpha=alpha, wished_gain=wished_gain, metric="macro_f1")
    )


def _best_gain(found: Headline) -> BestGain:
    return BestGain(gain=found.gain, over=found.over, num_rivals=len(found.rivals))


def _over_all_looks(found: Headline, earlier: Sequence[tuple[float, float]], wished_gain: float) -> Gain:
    """Return the headline with the interval that all looks leave: what was decided stays decided."""
    gain = found.gain
    if gain.low is None or gain.high is None or not earlier:
        return gain
    low, high = intersection([*earlier, (gain.low, gain.high)])
    return replace(gain, low=low, high=high, verdict=read_off(low, high, wished_gain=wished_gain))


def _study_checks(arms: Mapping[ArmName, ArmReport], *, wished_gain: float, wording: Wording) -> list[StudyCheck]:
    """Check what the headline rests on: a reference at its plateau, and two controls that can fail."""
    checks = []
    if (longer := _gain_of(arms, EQUAL_COMPUTE_ARM)) is not None:
        plateau = None if longer.high is None else longer.high < wished_gain
        if longer.low is not None and longer.low <= 0 and not plateau:
            plateau = None  # nothing was gained for sure, nor is it sure that nothing would be
        checks.append(
            StudyCheck(
                name="the reference was trained to its plateau",
                passed=plateau,
                detail=f"{EQUAL_COMPUTE_ARM}, which trains longer, brings {in_points(longer.mean)} points more, "
                f"{_interval(longer)}"
                + ("; more evaluation.classifier.steps train all arms longer" if plateau is False else ""),
            )
        )
    if (copies := _gain_of(arms, CONTROL_ARM)) is not None:
        checks.append(
            StudyCheck(
                name=f"control: augmented copies in the {wording.kind}'s place do not help",
                passed=_helps_not(copies, wished_gain=wished_gain),
                detail=f"{in_points(copies.mean)} points, {_interval(copies)}",
            )
        )
    most = max(MORE_LABELS, key=lambda arm: MORE_LABELS[arm])
    if (labels := _gain_of(arms, most)) is not None:
        seen: bool | None = labels.verdict == "helps"
        if labels.verdict in ("undecided", "unavailable"):
            seen = None
        checks.append(
            StudyCheck(
                name=f"control: {MORE_LABELS[most]:g} times the labels help",
                passed=seen,
                detail=f"{in_points(labels.mean)} points, {_interval(labels)}"
                + (
                    ""
                    if seen
                    else f"; a study that does not see what more labels bring sees no {wording.kind}'s gain either"
                ),
            )
        )
    return checks


def _helps_not(gain: Gain, *, wished_gain: float) -> bool | None:
    """Tell whether an arm is sure to bring no gain worth having; None where neither that nor a gain is sure."""
    if gain.low is None or gain.high is None:
        return None
    if gain.low > 0:
        return False
    return True if gain.high < wished_gain else None


def _gain_of(arms: Mapping[ArmName, ArmReport], name: ArmName) -> Gain | None:
    return arms[name].accuracy_gain if name in arms else None


def _interval(gain: Gain) -> str:
    if gain.low is None or gain.high is None:
        return gain.unavailable
    return f"interval {in_points(gain.low)} to {in_points(gain.high)}"


def _repeated(design: DesignFacts, replicates: int) -> str:
    if design.name == "given test":
        return f"{replicates} training{'s' if replicates > 1 else ''} on the same images"
    if design.folds == 1:
        return f"{replicates} fresh draw{'s' if replicates > 1 else ''}"
    repeats = replicates // design.folds
    return f"{design.folds} folds of one data set" + (f", {repeats} times" if repeats > 1 else "")


def _protocol(dataset: DatasetFacts, evaluation: Mapping[str, Any]) -> str:
    """Digest what two reports must share to be compared; how samples are judged moves no gain."""
    measured = {name: value for name, value in evaluation.items() if name not in ("samples", "wished_gain")}
    return digest_json({"test": dataset.test_digest, "train": dataset.train_digest, "evaluation": measured})


def overall_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Return one word for the study: it hurts if any regime does, helps if any does and none hurts."""
    order: tuple[Verdict, ...] = ("hurts", "helps", "undecided", "no gain worth having", "unavailable")
    return next(verdict for verdict in order if verdict in verdicts)


def verdict_sentence(
    best: BestGain,
    *,
    title: str,
    repeated: str,
    confidence: float,
    wished_gain: float,
    wording: Wording = GAN_WORDING,
) -> str:
    """Say in one sentence what the interval says; no stronger, no weaker.

    Args:
        title: of the regime.
        repeated: how often, and in which way, such as "6 fresh draws".
    """
    gain = best.gain
    among = f", the best of {best.num_rivals} arms without {wording.indefinite}" if best.num_rivals > 1 else ""
    points = f"{in_points(gain.mean)} points of accuracy over {best.over}{among}"
    if gain.low is None or gain.high is None:
        return f"With {title}, the gain is {points}, without an interval: {gain.unavailable}."
    found = f"{points} ({confidence:.0%} interval {in_points(gain.low)} to {in_points(gain.high)}, {repeated})"
    match gain.verdict:
        case "helps":
            return f"With {title}, {wording.augmentation} helps: {found}."
        case "hurts":
            return f"With {title}, {wording.augmentation} hurts: {found}."
        case "no gain worth having":
            worth = f"less than {100 * wished_gain:g} points either way"
            return f"With {title}, {wording.augmentation} brings no gain worth having, {worth}: {found}."
        case _:
            return f"With {title}, it is undecided whether {wording.augmentation} helps: {found}."


def sentences_of_arms(regime: RegimeReport, *, confidence: float, wording: Wording = GAN_WORDING) -> list[str]:
    """Return what is to be said of arms other than the headline one."""
    said = [unlabelled_sentence(gains, confidence=confidence) for gains in regime.unlabelled]
    if regime.evened_out is not None:
        said.append(evened_out_sentence(regime.evened_out, confidence=confidence, wording=wording))
    return said


def unlabelled_sentence(gains: UnlabelledGains, *, confidence: float) -> str:
    """Say what an arm with a GAN that has seen images without labels gains over both kinds of arms without a GAN."""
    alone = _against(gains.over_labelled, "arms of labelled images alone", confidence=confidence)
    partners = _against(gains.over_partners, "partners that see them without a GAN", confidence=confidence)
    return f"{gains.arm}, whose GAN has seen images without labels: {alone}; {partners}"


def evened_out_sentence(gain: BestGain, *, confidence: float, wording: Wording = GAN_WORDING) -> str:
    """Say what it brings to fill up rare classes with synthetic images."""
    found = _against(gain, f"arms without {wording.indefinite}", confidence=confidence, unit="points of macro-F1")
    return f"{EVENED_OUT_ARM}, where {wording.images} fill up rare classes: {found}"


def _against(best: BestGain, kind: str, *, confidence: float, unit: str = "points") -> str:
    interval = "no interval"
    if best.gain.low is not None and best.gain.high is not None:
        interval = f"{confidence:.0%} interval {in_points(best.gain.low)} to {in_points(best.gain.high)}"
    among = f", the best of {best.num_rivals} {kind}" if best.num_rivals > 1 else ""
    return f"{in_points(best.gain.mean)} {unit} over {best.over}{among} ({interval})"


def needed_sentence(needed: Needed) -> str:
    """Say what it would take to decide, with its own uncertainty."""
    if needed.fewest is None:
        what = {
            "replicates": "more than 10,000 replicates",
            "test images": "more test images: no number of replicates decides it",
            "overlap": "more data: the replicates share too many images for any number of them to decide it",
        }
        return f"to decide it would take {what[needed.bottleneck]}"
    if needed.most is None:
        limit = {"replicates": "", "test images": " test images", "overlap": " independent data"}[needed.bottleneck]
        more = f", and more{limit} if the gain lies near a boundary" if limit else " or many more"
        return f"to decide takes {needed.fewest:,} replicates in all at the least{more}"
    if needed.fewest == needed.most:
        return f"to decide takes about {needed.most:,} replicates in all"
    return f"to decide takes {needed.fewest:,} to {needed.most:,} replicates in all"


def worth_sentence(worth: LabelsWorth) -> str:
    """Say the gain in labelled images, such as "worth as much as 2.8 more labelled images per class (1.2 to 5.2)"."""
    high = f"more than {_images(worth.most)}" if worth.high is None else _images(worth.high)
    if worth.images == 0:
        most = "" if worth.high == 0 else f", or {high} per class at the most"
        return f"worth no labelled images{most}"
    if worth.images is None:
        low = "" if worth.low == worth.most else f" (at least {_images(worth.low)})"
        return f"worth more than {_images(worth.most)} more labelled images per class{low}"
    return f"worth as much as {_images(worth.images)} more labelled images per class ({_images(worth.low)} to {high})"


def _images(number: float) -> str:
    return f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def in_points(difference: float) -> str:
    """Write a difference of shares in percentage points with its sign, such as `+0.42`; what rounds to 0 is `+0.00`."""
    return f"{round(100 * difference, 2) + 0.0:+.2f}"


def flatten_config(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested configuration as dotted keys, with each value as people write it."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten_config(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            flat[prefix + key] = ", ".join(str(part) for part in value)
        else:
            flat[prefix + key] = "none" if value == {} else str(value)
    return flat


def read_report(path: Path) -> StudyReport:
    """Read a `report.json`.

    Raises:
        CorruptFileError: missing, damaged, or written by another version.
    """
    content = read_json(path)
    found = content.get("report_version") if isinstance(content, dict) else None
    if found != REPORT_VERSION:
        raise CorruptFileError(
            f"{path} is a report of format {found}, this version reads {REPORT_VERSION}; read it with the version that "
            "made it, or run the study again"
        )
    try:
        return StudyReport.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CorruptFileError(f"{path} is not a study's report ({where}: {first['msg']})") from error
