"""What GAN training and export cost, and how it grows: seconds a step and peak memory.

    python -m benchmarks.cost --repeats 5

Training against the subset's size (a step should cost the same whatever it is), the batch size and the images' side
(upscaled MNIST), one of them at a time from the default configuration; export against the number of images (memory
should stay flat). Every measurement has its own process, so that no memory is left from another one; the repeats
go through all of them in turn, so that a busy machine slows all alike. Peak memory is the process's (on CUDA also the
device's), interpreter and libraries included: the row `nothing done` has these alone.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.export import random_generator
from benchmarks.results import add_result, median_and_range, median_and_spread, seconds_each
from data.base.device import Compute, resolve_compute
from data.base.memory import peak_memory_bytes
from data.base.randomness import numpy_stream
from data.images import LabelledImages
from data.sources.collecting import resized
from data.sources.registry import load_source
from gan.config import GanConfig
from gan.export import ExportRequest, export_dataset
from gan.training import Training

SUBSET_SIZES = (100, 1_000, 10_000, 60_000)
BATCH_SIZES = (32, 64, 128, 256)
SIDES = (28, 32, 64)
USUAL_SIZE, USUAL_SIDE = 1_000, 28
IMAGE_SHAPE = (1, 28, 28)


@dataclass(frozen=True, kw_only=True)
class TrainingSize:
    """A training to measure."""

    num_images: int = USUAL_SIZE
    batch_size: int = GanConfig().batch_size
    side: int = USUAL_SIDE

    @property
    def title(self) -> str:
        return f"training on {self.num_images:,} images of {self.side}x{self.side}, batch {self.batch_size}"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a process measured of itself; `device_bytes` is 0 without a GPU."""

    seconds: tuple[float, ...] = ()
    memory_bytes: int
    device_bytes: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of the results; `work` runs in its own process."""

    title: str
    unit: str
    work: Callable[[], Cost]


def measure_nothing() -> Cost:
    """Return what a process that only imported the libraries holds."""
    return _cost(())


def measure_training(training: TrainingSize, *, steps: int, compute: Compute) -> Cost:
    """Time `steps` steps of the default GAN on random images of MNIST's train split."""
    subset = _subset(training)
    config = GanConfig(batch_size=training.batch_size, differentiable_augmentation=True).for_subset(training.num_images)
    step = Training(subset, config=config, seed=0, compute=compute).step
    return _cost(seconds_each(step, compute=compute, repeats=steps))


def measure_export(num_images: int, *, compute: Compute) -> Cost:
    """Export images of a generator with random weights, whose time and memory are a trained one's."""
    with tempfile.TemporaryDirectory() as folder:
        generator = random_generator(Path(folder) / "generator", IMAGE_SHAPE)

        def export() -> None:
            export_dataset(
                generator,
                Path(folder) / "synthetic",
                ExportRequest(num_images=num_images),
                compute=compute,
                on_progress=lambda _: None,
            )

        return _cost(seconds_each(export, compute=compute, repeats=1, warmup=0))


def jobs(*, steps: int, generated: Sequence[int], compute: Compute) -> list[Job]:
    """Return every measurement."""
    trainings = [TrainingSize(num_images=size) for size in SUBSET_SIZES]
    trainings += [TrainingSize(batch_size=size) for size in BATCH_SIZES]
    trainings += [TrainingSize(side=side) for side in SIDES]
    return [
        Job(title="nothing done", unit="", work=measure_nothing),
        *(
            Job(title=each.title, unit="ms a step", work=partial(measure_training, each, steps=steps, compute=compute))
            for each in dict.fromkeys(trainings)  # the usual one is in all three
        ),
        *(
            Job(title=f"export of {number:,} images", unit="ms", work=partial(measure_export, number, compute=compute))
            for number in generated
        ),
    ]


def run_alone(work: Callable[[], Cost]) -> Cost:
    """Run `work` in a new interpreter."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work).result()


def told(costs: Sequence[Cost], *, unit: str) -> str:
    """Return a row's figure: median and spread over the repeats' timings, median and range of the memory."""
    milliseconds = [1000 * seconds for cost in costs for seconds in cost.seconds]
    parts = []
    if milliseconds:
        tell = median_and_spread if len(milliseconds) > 10 else median_and_range
        parts.append(f"{tell(milliseconds, digits=1)} {unit}")
    parts.append(f"peak memory {median_and_range([cost.memory_bytes / 2**20 for cost in costs])} MiB")
    if any(cost.device_bytes for cost in costs):
        parts.append(f"on the GPU {median_and_range([cost.device_bytes / 2**20 for cost in costs])} MiB")
    return ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="timed steps of a training")
    parser.add_argument("--repeats", type=int, default=3, help="processes for each row")
    parser.add_argument("--generated", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    arguments = parser.parse_args()
    compute = resolve_compute(device=arguments.device, precision="auto")
    planned = jobs(steps=arguments.steps, generated=arguments.generated, compute=compute)
    costs: dict[str, list[Cost]] = {job.title: [] for job in planned}
    for repeat in range(arguments.repeats):
        for job in planned:
            costs[job.title].append(run_alone(job.work))
            print(f"repeat {repeat}, {job.title}: {told(costs[job.title][-1:], unit=job.unit)}", flush=True)
    figures = [(job.title, told(costs[job.title], unit=job.unit)) for job in planned]
    add_result("cost", compute=compute, figures=figures)


def _subset(training: TrainingSize) -> LabelledImages:
    train = load_source("mnist").train
    rows = numpy_stream(0, "cost").permutation(len(train))[: training.num_images]
    subset = train.take(np.sort(rows))
    if training.side == USUAL_SIDE:
        return subset
    images = np.stack([resized(image, (training.side, training.side)) for image in subset.images])
    return LabelledImages(images=images, labels=subset.labels, rows=subset.rows, class_names=subset.class_names)


def _cost(seconds: Sequence[float]) -> Cost:
    device_bytes = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return Cost(seconds=tuple(seconds), memory_bytes=peak_memory_bytes(), device_bytes=device_bytes)


if __name__ == "__main__":
    main()
