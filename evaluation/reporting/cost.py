"""What a study cost, stage by stage."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.arms import REFERENCE_ARMS
from evaluation.reporting.report import StudyReport

_ORDER = ("subset", "generator", "synthetic", "samples", "arm")
_TITLES = {
    "subset": "draw subset",
    "generator": "train GAN",
    "synthetic": "draw samples",
    "samples": "judge samples",
    "arm": "train classifier",
}


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """One stage over all cells; figures that were not measured are None.

    Attributes:
        images_per_second: images trained on, or drawn, per second of the whole stage (set-up and writing included).
        peak_memory: bytes.
    """

    title: str
    num_cells: int
    total_seconds: float
    mean_seconds: float
    images_per_second: float | None
    peak_memory: int | None


def stage_costs(report: StudyReport) -> list[StageCost]:
    """Sum up what each stage cost, in the order in which stages run."""
    names = sorted(_names(report.timings.values()), key=_place)
    costs = []
    for name in names:
        timings = [stages[name] for stages in report.timings.values() if name in stages]
        seconds = [timing.elapsed_seconds for timing in timings]
        images = _images(name, report)
        memory = [timing.peak_memory_bytes for timing in timings if timing.peak_memory_bytes is not None]
        costs.append(
            StageCost(
                title=_title(name),
                num_cells=len(seconds),
                total_seconds=sum(seconds),
                mean_seconds=sum(seconds) / len(seconds),
                images_per_second=images * len(seconds) / sum(seconds) if images and sum(seconds) > 0 else None,
                peak_memory=max(memory, default=None),
            )
        )
    return costs


def _names(cells: Iterable[Iterable[str]]) -> set[str]:
    return {name for stages in cells for name in stages}


def _place(name: str) -> tuple[int, int, str]:
    kind, _, detail = name.partition(" ")
    arms: list[str] = list(REFERENCE_ARMS)
    return (
        _ORDER.index(kind) if kind in _ORDER else len(_ORDER),
        arms.index(detail) if detail in arms else len(arms),
        name,
    )


def _title(name: str) -> str:
    kind, _, detail = name.partition(" ")
    return f"{_TITLES.get(kind, kind)} {detail}".strip()


def _images(name: str, report: StudyReport) -> int | None:
    """Return how many images the stage handles in one cell, as far as the configuration tells."""
    config: Mapping[str, Any] = report.config
    kind = name.split(" ")[0]
    try:
        if kind == "generator":
            return int(config["gan"]["steps"]) * int(config["gan"]["batch_size"])
        if kind == "synthetic":
            return int(config["sampling"]["images_per_class"]) * len(report.dataset.class_names)
        classifier = config["evaluation"]["classifier"]
        if kind == "arm" and classifier["kind"] == "convnet":
            return int(classifier["steps"]) * int(classifier["batch_size"])
    except KeyError:
        return None
    return None
