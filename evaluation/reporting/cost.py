"""What a study cost, stage by stage."""

from dataclasses import dataclass

from evaluation.reporting.report import StudyReport


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
    costs = []
    for name in dict.fromkeys(name for stages in report.timings.values() for name in stages):
        timings = [stages[name] for stages in report.timings.values() if name in stages]
        seconds = sum(timing.elapsed_seconds for timing in timings)
        images = [timing.images for timing in timings if timing.images is not None]
        memory = [timing.peak_memory_bytes for timing in timings if timing.peak_memory_bytes is not None]
        costs.append(
            StageCost(
                title=timings[0].title,
                num_cells=len(timings),
                total_seconds=seconds,
                mean_seconds=seconds / len(timings),
                images_per_second=sum(images) / seconds if images and seconds > 0 else None,
                peak_memory=max(memory, default=None),
            )
        )
    return costs
