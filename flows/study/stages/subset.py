"""Stage `subset`: draw all that the cell's generator and classifiers may see of the data set."""

import numpy as np
from pydantic import BaseModel

from data.config import ImagesPerClass, LongTailOrder
from data.images import LabelledImages
from data.parquet import write_subset
from data.regimes import draw_subset, regime_of
from flows.study.job import Job


class SubsetSettings(BaseModel, frozen=True):
    """The cell's regime, as the configuration names it."""

    images_per_class: ImagesPerClass
    long_tail_order: LongTailOrder


def draw_cell_subset(job: Job[SubsetSettings], *, pool: LabelledImages) -> str:
    """Write the regime's images, drawn from the cell's pool by the cell's own stream."""
    regime = regime_of(job.settings.images_per_class, order=job.settings.long_tail_order)
    subset = draw_subset(pool, regime, rng=np.random.default_rng(job.seed))
    write_subset(job.output, subset)
    job.on_update(1.0, "")
    return f"{len(subset):,} images"
