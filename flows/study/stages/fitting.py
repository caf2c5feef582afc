"""How a stage fits a classifier."""

from typing import Any

from evaluation.config import ClassifierConfig, TrainingConfig
from evaluation.fitting import ClassifierProgress, FitOptions
from flows.study.job import Job


def fit_options(job: Job[Any], training: TrainingConfig, *, classifier: ClassifierConfig | None = None) -> FitOptions:
    """Return how the job's classifier is fitted; the job hears of every step that is told.

    Args:
        classifier: in place of the configuration's own.
    """

    def on_progress(progress: ClassifierProgress) -> None:
        detail = (
            f"step {progress.step}/{progress.num_steps}  loss {progress.loss:.3f}  "
            f"{progress.images_per_second:,.0f} images/s"
        )
        job.on_update(progress.step / progress.num_steps, detail)

    return FitOptions(
        config=classifier or training.classifier,
        added_shares=training.added_shares,
        seed=job.seed,
        compute=job.compute,
        on_progress=on_progress,
    )
