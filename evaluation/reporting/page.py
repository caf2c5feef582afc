"""`report.html`: the study's report as one self-contained page, from report.json and the files of its cells.

The first screen is for whoever asked the question; what a statistician or an engineer needs follows below. The page
is a function of its inputs: the same report and files give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from data.base.files import read_model, write_text
from data.images import LabelledImages
from evaluation.arms import ARMS, HEADLINE_ARM, HEADLINE_REFERENCE, ArmName
from evaluation.changes import ConfusionChange, Flip, Pair, class_changes, confusion_changes, flips
from evaluation.class_gains import ClassGain
from evaluation.predictions import read_predictions
from evaluation.reporting.charts import (
    ClassBar,
    ForestRow,
    TrainingCurve,
    accuracy_chart,
    class_chart,
    forest_chart,
    training_chart,
)
from evaluation.reporting.cost import stage_costs
from evaluation.reporting.film import Epoch, Film, file_uri, make_film, picture_uri
from evaluation.reporting.rendering import interval, points, render_page
from evaluation.reporting.report import (
    RegimeReport,
    StudyReport,
    flatten_config,
    needed_sentence,
    sentences_of_arms,
    worth_sentence,
)
from evaluation.reporting.sample_rows import CheckRow, check_rows, fidelity_rows, membership_sentences
from evaluation.reporting.wording import Wording
from evaluation.samples import LABELS_PICTURE, PAIRS_PICTURE

FILM_BUDGET_BYTES = 1_200_000  # of all regimes together: the page must stay below 3 MB
MAX_CLASS_BARS = 30
MAX_CONFUSIONS = 8
MAX_FLIPS = 8
FLIP_SIDE = 64  # pixels


@dataclass(frozen=True, kw_only=True)
class CellFiles:
    """Where the page finds what a cell left behind.

    Attributes:
        history: the GAN's `history.json`; None where another generator left a picture alone.
        grids: the directory that the grids in `history` are relative to; in it, where there is no history, the picture.
        picture: name of that picture.
        predictions: one file per arm.
        pictures: directory with `suspicious_pairs.png` and `worst_labels.png`, where the samples were evaluated.
    """

    regime: str
    replicate: int
    history: Path | None
    grids: Path
    predictions: Mapping[ArmName, Path]
    pictures: Path | None = None
    picture: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingView:
    """What the page shows of one regime's generator: the GAN's training in the first replicate, or a picture."""

    title: str
    film: Film | None
    chart: Markup | None
    final_distances: tuple[float, ...]
    picture: str | None = None


@dataclass(frozen=True, kw_only=True)
class SamplePictures:
    """The most suspicious samples of a regime's first replicate, as data URIs; None where not at hand."""

    title: str
    suspicious_pairs: str | None
    worst_labels: str | None


@dataclass(frozen=True, kw_only=True)
class FlipView:
    """A flipped test image with its picture (a data URI), or without where the test images are not at hand."""

    flip: Flip
    picture: str | None


@dataclass(frozen=True, kw_only=True)
class ChangesView:
    """What changed inside one regime between the reference arm and the headline arm."""

    title: str
    num_replicates: int
    chart: Markup
    bars: tuple[ClassBar, ...]
    num_classes: int
    confusions: tuple[ConfusionChange, ...]
    num_righted: int
    righted: tuple[FlipView, ...]
    num_wronged: int
    wronged: tuple[FlipView, ...]


def write_page(
    path: Path,
    report: StudyReport,
    *,
    environment: Mapping[str, Any],
    cell_files: Sequence[CellFiles],
    command: str,
    test_images: Mapping[str, LabelledImages] | None = None,
) -> None:
    """Write the page atomically.

    Args:
        environment: the run's environment.json.
        command: what a person types to repeat the study.
        test_images: name of a regime to the images that it is tested on, for pictures of those that flipped.

    Raises:
        CorruptFileError: a cell's file is missing or damaged.
        AugmentError: the page cannot be written.
    """
    by_regime = {
        regime.name: sorted((files for files in cell_files if files.regime == regime.name), key=lambda f: f.replicate)
        for regime in report.regimes
    }
    budget = FILM_BUDGET_BYTES // len(report.regimes)
    present = [(regime, by_regime[regime.name]) for regime in report.regimes if by_regime[regime.name]]
    checks = check_rows(report)
    several = len(report.regimes) > 1

    def name_of(row: CheckRow) -> str:
        return f"{row.name} ({row.regime})" if several else row.name

    wording = Wording(report.generator)
    content = {
        "report": report,
        "answer": answer(report),
        "headline_arm": HEADLINE_ARM,
        "reference_arm": HEADLINE_REFERENCE,
        "wording": wording,
        "descriptions": {name: wording.described(ARMS[name].description) for name in report.arms},
        "num_cells": len(report.cells),
        "forest": _headline_forest(report),
        "arm_forests": [_arm_forest(regime, number) for number, regime in enumerate(report.regimes)],
        "accuracy": accuracy_chart(
            report.regimes,
            report.arms,
            confidence=report.confidence,
            num_test=min(regime.design.num_test for regime in report.regimes),
            name="accuracy",
        ),
        "trainings": [
            _training(regime, files, number, shape=report.dataset.image_shape, budget_bytes=budget)
            for number, (regime, files) in enumerate(present)
        ],
        "changes": [
            _changes(
                regime,
                files,
                number,
                names=report.dataset.class_names,
                test_images=None if test_images is None else test_images.get(regime.name),
            )
            for number, (regime, files) in enumerate(present)
        ],
        "parts": [_variance_shares(regime, kind=wording.kind) for regime in report.regimes],
        "takes": [needed_sentence(regime.needed) if regime.needed else "" for regime in report.regimes],
        "worths": [worth_sentence(regime.labels_worth) if regime.labels_worth else "" for regime in report.regimes],
        "of_arms": [
            sentences_of_arms(regime, confidence=report.confidence, wording=wording) for regime in report.regimes
        ],
        "run_name": path.parent.name,
        "designs": list(dict.fromkeys(regime.design.sentence for regime in report.regimes)),
        "resolved": [(regime.title, regime.resolved) for regime in report.regimes if regime.resolved],
        "named_code": list(dict.fromkeys(item for cell in report.cells for item in cell.named_code.items())),
        "checks": checks,
        "fidelity": fidelity_rows(report),
        "membership": membership_sentences(report),
        "sample_pictures": [view for regime, files in present if (view := _sample_pictures(regime, files[0]))],
        "wished_gain": report.config["evaluation"].get("wished_gain"),
        "num_checks": sum(row.made for row in checks),
        "watched_checks": [name_of(row) for row in checks if row.num_watched and not row.num_failed],
        "failed_checks": [name_of(row) for row in checks if row.num_failed],
        "costs": stage_costs(report),
        "total_seconds": sum(cost.elapsed_seconds for stages in report.timings.values() for cost in stages.values()),
        "config": flatten_config(report.config),
        "environment": flatten_config(environment),
        "created": str(environment.get("created") or "")[:16].replace("T", " "),
        "command": command,
        "class_name": lambda label: report.dataset.class_names[label],
    }
    write_text(path, render_page("report.html", content))


def answer(report: StudyReport) -> str:
    """Answer the study's question in one line; regimes that differ are named."""
    augmentation = Wording(report.generator).augmentation
    subject = augmentation[0].upper() + augmentation[1:]
    words = {
        "helps": f"{subject} helps",
        "hurts": f"{subject} hurts",
        "no gain worth having": f"{subject} brings no gain worth having",
        "undecided": f"Undecided: this study cannot tell yet whether {augmentation} helps",
        "unavailable": "This study cannot tell",
    }
    verdicts = [regime.headline.verdict for regime in report.regimes]
    if len(set(verdicts)) == 1:
        return words[verdicts[0]]
    parts = []
    for verdict in dict.fromkeys(verdicts):
        titles = [regime.title for regime in report.regimes if regime.headline.verdict == verdict]
        said = "cannot be told" if verdict == "unavailable" else verdict
        parts.append(f"{said} with {' and '.join(titles)}")
    return "It depends on how much labelled data there is: " + "; ".join(parts)


def _headline_forest(report: StudyReport) -> Markup:
    rows = [ForestRow(label=regime.title, gain=regime.headline, arm=HEADLINE_ARM) for regime in report.regimes]
    return forest_chart(rows, name="forest", description=f"Gain per regime. {_describe(rows)}")


@dataclass(frozen=True, kw_only=True)
class VarianceShare:
    """A source of error: its share of the variance of the headline's mean, and what makes it smaller."""

    source: str
    share: float
    shrinks_with: str


def _variance_shares(regime: RegimeReport, *, kind: str) -> list[VarianceShare]:
    parts = regime.headline.parts
    if parts is None or not parts.total:
        return []
    draws = {"fresh draws": "draws", "one data set": "folds", "given test": "trainings"}[regime.design.name]
    named = [
        (f"{draws}, {kind}s" + ("" if parts.seeds is not None else ", classifier seeds"), parts.draws, "replicates"),
        ("classifier seeds", parts.seeds, "seeds, or replicates"),
        ("test images", parts.test_images, "test images"),
        (f"images that {draws} share", parts.overlap, "more data"),
    ]
    return [
        VarianceShare(source=source, share=part / parts.total, shrinks_with=remedy)
        for source, part, remedy in named
        if part is not None
    ]


def _arm_forest(regime: RegimeReport, number: int) -> Markup:
    rows = [
        ForestRow(label=f"{arm.name} − {arm.reference}", gain=arm.accuracy_gain, arm=arm.name)  # noqa: RUF001
        for arm in regime.arms
        if arm.accuracy_gain is not None
    ]
    description = f"Gain of every arm over its reference with {regime.title}. {_describe(rows)}"
    return forest_chart(rows, name=f"arms{number}", description=description)


def _describe(rows: Sequence[ForestRow]) -> str:
    return "; ".join(
        f"{row.label}: {points(row.gain.mean)} points, interval {interval(row.gain.low, row.gain.high)}" for row in rows
    )


def _training(
    regime: RegimeReport,
    files: Sequence[CellFiles],
    number: int,
    *,
    shape: tuple[int, int, int],
    budget_bytes: int,
) -> TrainingView:
    histories = [read_model(cell.history, list[Epoch]) for cell in files if cell.history is not None]
    if not histories:
        picture = files[0].grids / files[0].picture
        shown = file_uri(picture) if files[0].picture and picture.exists() else None
        return TrainingView(title=regime.title, film=None, chart=None, final_distances=(), picture=shown)
    first = histories[0]
    chart = None
    if first:
        curve = TrainingCurve(
            steps=[epoch.step for epoch in first],
            discriminator_losses=[epoch.discriminator_loss for epoch in first],
            generator_losses=[epoch.generator_loss for epoch in first],
            kernel_distances=[epoch.kernel_distance for epoch in first],
        )
        last = first[-1]
        description = (
            f"Losses of discriminator and generator over {last.step:,} steps with {regime.title}, ending at "
            f"{last.discriminator_loss:.2f} and {last.generator_loss:.2f}; below, the distance between generated and "
            f"real images, from {first[0].kernel_distance:.3g} to {last.kernel_distance:.3g}."
        )
        chart = training_chart(curve, name=f"training{number}", description=description)
    return TrainingView(
        title=regime.title,
        film=make_film(first, files[0].grids, image_shape=shape, budget_bytes=budget_bytes),
        chart=chart,
        final_distances=tuple(history[-1].kernel_distance for history in histories if history),
    )


def _sample_pictures(regime: RegimeReport, files: CellFiles) -> SamplePictures | None:
    if files.pictures is None:
        return None
    pairs, labels = files.pictures / PAIRS_PICTURE, files.pictures / LABELS_PICTURE
    return SamplePictures(
        title=regime.title,
        suspicious_pairs=file_uri(pairs) if pairs.exists() else None,
        worst_labels=file_uri(labels) if labels.exists() else None,
    )


def _changes(
    regime: RegimeReport,
    files: Sequence[CellFiles],
    number: int,
    *,
    names: tuple[str, ...],
    test_images: LabelledImages | None,
) -> ChangesView:
    pairs: list[Pair] = [
        (read_predictions(cell.predictions[HEADLINE_REFERENCE]), read_predictions(cell.predictions[HEADLINE_ARM]))
        for cell in files
    ]
    changes = class_changes(pairs)
    gains = regime.class_gains
    bars = [
        ClassBar(
            label=names[change.label],
            mean=100 * (change.after - change.before),
            values=[100 * value for value in change.differences],
            interval=_in_points(gains[change.label]),
        )
        for change in changes
    ]
    largest = sorted(range(len(bars)), key=lambda place: -abs(bars[place].mean))[:MAX_CLASS_BARS]
    shown = [bars[place] for place in sorted(largest)]
    description = f"Change of each class with {regime.title}, in points: " + ", ".join(
        f"{bar.label} {bar.mean:+.2f}" for bar in shown
    )
    num_righted, righted = flips(pairs, to_right=True, limit=MAX_FLIPS)
    num_wronged, wronged = flips(pairs, to_right=False, limit=MAX_FLIPS)
    return ChangesView(
        title=regime.title,
        num_replicates=len(pairs),
        chart=class_chart(shown, name=f"classes{number}", description=description),
        bars=tuple(shown),
        num_classes=len(bars),
        confusions=tuple(confusion_changes(pairs, limit=MAX_CONFUSIONS)),
        num_righted=num_righted,
        righted=tuple(FlipView(flip=flip, picture=_picture(flip, test_images)) for flip in righted),
        num_wronged=num_wronged,
        wronged=tuple(FlipView(flip=flip, picture=_picture(flip, test_images)) for flip in wronged),
    )


def _in_points(gain: ClassGain) -> tuple[float, float] | None:
    return None if gain.low is None or gain.high is None else (100 * gain.low, 100 * gain.high)


def _picture(flip: Flip, test_images: LabelledImages | None) -> str | None:
    if test_images is None:
        return None
    image = test_images.images[np.flatnonzero(test_images.rows == flip.row)[0]]
    if max(image.shape[1:]) > FLIP_SIDE:
        channels = [Image.fromarray(channel).resize((FLIP_SIDE, FLIP_SIDE)) for channel in image]
        image = np.stack([np.asarray(channel) for channel in channels])
    return picture_uri(image)
