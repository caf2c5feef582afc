"""Stage `synthetic`: draw the cell's labelled synthetic data set from its generator."""

import shutil
from pathlib import Path

from flows.study.job import Job
from gan.config import SamplingConfig
from gan.export import ExportProgress, ExportRequest, export_dataset, sample_source


def draw_synthetic_set(job: Job[SamplingConfig], *, generator: Path) -> str:
    """Write a Parquet data set with as many images of each class as the settings say, or as ready images have.

    Args:
        generator: the directory that the stage `generator` made.
    """

    def on_progress(progress: ExportProgress) -> None:
        job.on_update(progress.done / progress.total, f"{progress.done:,} of {progress.total:,} images")

    source = sample_source(generator)
    wanted = job.settings.images_per_class
    counts = None if source.most is None else tuple(min(wanted, most) for most in source.most)
    request = ExportRequest(
        num_images=wanted * len(source.class_names) if counts is None else sum(counts),
        class_counts=counts,
        shard_size=job.settings.shard_size,
        seed=job.seed,
    )
    if job.output.exists():
        shutil.rmtree(job.output)
    export_dataset(generator, job.output, request, compute=job.compute, on_progress=on_progress)
    return f"{request.num_images:,} images"
