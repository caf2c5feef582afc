"""Runs made up to the image: as many right answers per arm and replicate as a test asks for, no training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.base.files import digest_file, write_json, write_text
from data.images import LabelledImages
from evaluation.arms import ArmName
from evaluation.facts import CellFacts, DatasetFacts, Looks, StageTiming
from evaluation.gains import CellAnswers, RegimeAnswers
from evaluation.metrics import measured
from evaluation.policy import CandidateScore, PolicyChoice
from evaluation.predictions import Predictions, write_predictions
from evaluation.protocol import EvaluationConfig
from evaluation.reporting.page import CellFiles, write_page
from evaluation.reporting.report import RegimeData, StudyReport, build_report
from gan.grid import write_grid

NUM_TEST = 60
NO_TAIL = np.empty(0, np.int64)
FRESH = {
    "name": "fresh draws",
    "sentence": "fresh draws: every replicate draws its images from a pool, and all are tested on the same 60 images",
    "folds": 1,
    "num_pool": 600,
    "drawn_share": 0.05,
    "num_test": NUM_TEST,
    "num_beside": 0,
}
ARMS: tuple[ArmName, ...] = EvaluationConfig().arms
RIGHT: dict[ArmName, int] = {
    "real": 36,
    "real+classical": 42,
    "equal-compute": 42,
    "synthetic": 30,
    "deformed-copies": 42,
    "labels-x1.25": 44,
    "labels-x1.5": 47,
    "labels-x2": 51,
}
EVALUATION = EvaluationConfig(classifier_seeds=2)  # two, for seeds to be a part of the error too
SEEDS = EVALUATION.seeds_of_arms("")


def add_arms(patch: pytest.MonkeyPatch, right: Mapping[ArmName, int]) -> None:
    """Let runs that are written from now on have more arms, of two classifiers each, with so many images right."""
    patch.setattr(f"{__name__}.ARMS", (*ARMS, *right))
    patch.setattr(f"{__name__}.RIGHT", RIGHT | right)
    patch.setattr(f"{__name__}.SEEDS", SEEDS | dict.fromkeys(right, 2))


@dataclass(frozen=True, kw_only=True)
class FabricatedRun:
    """A run directory with its report, the files of its cells and its test images."""

    directory: Path
    report: StudyReport
    cell_files: tuple[CellFiles, ...]
    test: LabelledImages

    def write_page(self, environment: Mapping[str, Any] | None = None) -> Path:
        """Write report.html and return its path."""
        page = self.directory / "report.html"
        write_page(
            page,
            self.report,
            environment=environment or {"versions": {"torch": "2.15.0"}, "created": "2026-11-01T10:00:00+00:00"},
            cell_files=self.cell_files,
            command="augment run --dataset stripes --seed 0",
            test_images={regime.name: self.test for regime in self.report.regimes},
        )
        return page


def striped_test(class_names: tuple[str, ...]) -> LabelledImages:
    """60 images of 8x8, as many of each class."""
    rng = np.random.default_rng(0)
    labels = np.arange(NUM_TEST, dtype=np.int64) % len(class_names)
    images = rng.integers(0, 255, (NUM_TEST, 1, 8, 8), dtype=np.uint8)
    return LabelledImages(
        images=images, labels=labels, rows=np.arange(NUM_TEST, dtype=np.int64), class_names=class_names
    )


def fabricate_run(
    directory: Path,
    *,
    more_right: Mapping[int, Sequence[int]],
    class_names: tuple[str, ...] = ("rows", "columns", "none"),
    subsets: str = "",
    changes: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
) -> FabricatedRun:
    """Write a run.

    Args:
        more_right: images per class to, for each replicate, how many more of the 60 test images the headline arm gets
            right than its reference.
        subsets: part of each subset's digest; runs with the same one have drawn the same images.
        changes: top-level configuration keys to change.
        dataset: fields of the dataset facts to change.
    """
    test = striped_test(class_names)
    cells, files, timings = [], [], {}
    answers: dict[str, list[CellAnswers]] = {}
    for images_per_class, replicates in more_right.items():
        name = f"balanced-{images_per_class}"
        for replicate, more in enumerate(replicates):
            cell = directory / "cells" / name / str(replicate)
            right = RIGHT | {"real+classical+synthetic": RIGHT["real+classical"] + more}
            paths = {arm: cell / "arms" / arm / "predictions.parquet" for arm in ARMS}
            written = {arm: _write_predictions(paths[arm], test, right[arm]) for arm in ARMS}
            answers.setdefault(name, []).append(
                CellAnswers(
                    replicate=replicate,
                    subset_rows=np.arange(3) + 3 * replicate,
                    arms={arm: [predictions] * SEEDS[arm] for arm, predictions in written.items()},
                )
            )
            write_json(cell / "generator" / "history.json", _history(cell / "generator", test))
            cells.append(
                CellFacts(
                    regime=name,
                    replicate=replicate,
                    subset=f"{subsets}{name}{replicate}",
                    generator="0" * 64,
                    predictions={arm: digest_file(path) for arm, path in paths.items()},
                    metrics={arm: _metrics(right[arm], class_names) for arm in ARMS},
                    class_counts=(images_per_class,) * len(class_names),
                    policy=PolicyChoice(
                        policy="digits",
                        reason="the usual one for such images, and none did better",
                        judged=30,
                        candidates=(
                            CandidateScore(policy="digits", accuracy=0.8, rounds=2),
                            CandidateScore(policy="none", accuracy=0.6 + 0.1 * replicate, rounds=2),
                        ),
                    ),
                )
            )
            files.append(
                CellFiles(
                    regime=name,
                    replicate=replicate,
                    history=cell / "generator" / "history.json",
                    grids=cell / "generator",
                    predictions=paths,
                )
            )
            timings[f"{name}/{replicate}"] = {
                stage: StageTiming(title=title, elapsed_seconds=seconds, peak_memory_bytes=500_000_000, images=images)
                for stage, title, seconds, images in (
                    ("generator", "train GAN", 20.0, 1000),
                    ("synthetic", "draw samples", 1.0, 150),
                    ("arm real", "train classifier real", 2.0, None),
                )
            }
    config = {
        "seed": 0,
        "gan": {"steps": 100, "batch_size": 10},
        "sampling": {"images_per_class": 50},
        "evaluation": EVALUATION.model_dump(mode="json"),
    }
    facts = {
        "name": "stripes",
        "warning": "",
        "num_train": 600,
        "num_test": NUM_TEST,
        "image_shape": (1, 8, 8),
        "class_names": class_names,
        "train_digest": "a" * 64,
        "test_digest": "b" * 64,
        "designs": {f"balanced-{number}": FRESH | {"num_subset": 3 * number} for number in more_right},
    }
    report = build_report(
        {
            f"balanced-{number}": RegimeData(
                title=f"{number} per class",
                cells=[cell for cell in cells if cell.regime == f"balanced-{number}"],
                answers=RegimeAnswers.of(answers[f"balanced-{number}"], folds=1),
            )
            for number in more_right
        },
        looks=Looks(),
        final=True,
        dataset=DatasetFacts.model_validate(facts | dict(dataset or {})),
        config=config | dict(changes or {}),
        timings=timings,
    )
    write_text(directory / "report.json", report.model_dump_json(indent=2) + "\n")
    return FabricatedRun(directory=directory, report=report, cell_files=tuple(files), test=test)


@cache
def _metrics(num_right: int, class_names: tuple[str, ...]) -> dict[str, float]:
    """Return what `measured` says, which takes longer than all else of a run."""
    return measured(_predictions(striped_test(class_names), num_right), NO_TAIL)


def _write_predictions(path: Path, test: LabelledImages, num_right: int) -> Predictions:
    predictions = _predictions(test, num_right)
    write_predictions(path, predictions)
    return predictions


def _predictions(test: LabelledImages, num_right: int) -> Predictions:
    predicted = np.where(np.arange(len(test)) < num_right, test.labels, (test.labels + 1) % test.num_classes)
    probabilities = np.eye(test.num_classes, dtype=np.float32)[predicted]
    return Predictions(rows=test.rows, labels=test.labels, probabilities=probabilities)


def _history(directory: Path, test: LabelledImages) -> list[dict[str, Any]]:
    rows = np.concatenate([np.flatnonzero(test.labels == label)[:4] for label in range(test.num_classes)])
    records = []
    for number in (1, 2, 3):
        grid = f"epochs/step-{number:06d}.png"
        write_grid(directory / grid, real=test.images[rows], fake=255 // number - test.images[rows] // 4, columns=4)
        records.append(
            {
                "step": number * 50,
                "epochs": number * 1.5,
                "discriminator_loss": 1.4 - 0.1 * number,
                "generator_loss": 0.7 + 0.1 * number,
                "kernel_distance": 0.3 / number,
                "grid": grid,
            }
        )
    return records
