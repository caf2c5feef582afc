"""Stage `synthetic`: draw the cell's labelled synthetic data set from its generator."""

import shutil
from pathlib import Path

from flows.study.job import Job
from gan.checkpoint import load_generator
from gan.config import SamplingConfig
from gan.export import GENERATOR_FILE, ExportProgress, ExportRequest, export_dataset


def draw_synthetic_set(job: Job[SamplingConfig], *, generator: Path) -> str:
    """Write a Parquet data set with as many images of each class as the settings say.

    Args:
        generator: the directory that the stage `generator` made.
    """

    def on_progress(progress: ExportProgress) -> None:
        job.on_update(progress.done / progress.total, f"{progress.done:,} of {progress.total:,} images")

    _, class_names = load_generator(generator / GENERATOR_FILE)
    request = ExportRequest(
        num_images=job.settings.images_per_class * len(class_names),
        shard_size=job.settings.shard_size,
        seed=job.seed,
    )
    if job.output.exists():
        shutil.rmtree(job.output)
    export_dataset(generator, job.output, request, compute=job.compute, on_progress=on_progress)
    return f"{request.num_images:,} images"
