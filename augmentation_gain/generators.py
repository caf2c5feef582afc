"""A generator by itself: trained on all images that are given, sampled, and exported as a labelled data set."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch

from augmentation_gain.in_memory import Given, GivenImages, GivenLabels, dataset_options
from augmentation_gain.progress import shown_progress
from data.base.device import DeviceChoice, resolve_compute, threads_kept
from data.base.errors import UsageError
from data.base.files import digest_file, given_path
from data.base.limits import check_seed
from data.base.plugins import allow
from data.base.randomness import child_seed, torch_stream
from data.design import whole_images
from data.parquet import read_subset, write_subset
from data.publishing.formats import FileFormat
from data.sources.registry import load_source
from evaluation.policy_choice import choose_policy
from flows.study.code import code_digest
from flows.study.config import resolve_config
from flows.study.generators.trained import generators_of, of_most_data
from flows.study.job import Job
from flows.study.run_directory import SUBSET_FILE
from flows.study.scratch import scratch_folder
from flows.study.stages.generator import train_generator
from flows.study.watching import StageUpdate, listeners
from gan.checkpoint import GENERATOR_FILE, load_generator
from gan.export import ExportProgress, ExportRequest, check_number, export_dataset
from gan.sampling import apportion, class_sequence, draw_images


def train_gan(
    images: GivenImages,
    labels: GivenLabels = None,
    *,
    directory: str | Path,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Path:
    """Train a GAN on labelled images, and return the generator's folder, which `sample` and `export` take.

    Of a data set with a test split, that is left out. The policy of augmentation is chosen as a study does
    (settings={"evaluation.policy": …} says it). What a GAN gains is not said here: see `study`.

    Args:
        images, labels, class_names: as `study` takes them.
        directory: of the generator and the images that it learnt from; must hold none yet.
        settings: configuration keys with values, such as {"gan.steps": 3000}.

    Raises:
        UsageError: the images cannot be, or a generator lies there already.
        AugmentError: training diverged, or the folder cannot be written.
    """
    check_seed(seed)
    place = given_path(directory)
    generator = place / "generator"
    if (generator / GENERATOR_FILE).exists():
        raise UsageError(f"{generator} is already there; choose another directory or remove it first")
    with scratch_folder() as scratch:
        given = Given(images=images, labels=labels, class_names=class_names)
        options = dataset_options(given, folder=scratch / "images", settings=settings or {})
        config = resolve_config(preset_name="quick", file=None, options=options, assignments=[])
        for reference in config.named_code:
            allow(reference)  # whoever calls this named it
        source = load_source(config.data)
    subset = whole_images(source) if source.held_out else source.train
    subset = replace(subset, groups=None)  # a generator has no use for them
    with threads_kept():
        torch.set_num_threads(config.compute.threads or os.cpu_count() or 1)
        place.mkdir(parents=True, exist_ok=True)
        write_subset(place / SUBSET_FILE, subset)
        compute = resolve_compute(device=config.compute.device, precision=config.compute.precision)
        with shown_progress(progress, total_weight=2.0):
            policy = choose_policy(
                subset,
                config=config.evaluation.training(),
                seed=child_seed(seed, "policy"),
                compute=compute,
                on_update=lambda share, detail: _tell("choose augmentation", share, detail),
            ).policy
            job = Job(
                cell="",
                settings=config.gan.for_subset(
                    len(subset), imbalance=subset.imbalance, policy=policy, image_shape=subset.shape
                ),
                seed=child_seed(seed, "gan"),
                compute=compute,
                code=code_digest(train_generator.__module__),
                output=generator,
                on_update=lambda share, detail: _tell("train GAN", share, detail),
            )
            origin = {"source": source.name, "source_train": subset.digest()}
            train_generator(job, subset=subset, origin=origin | {"subset": digest_file(place / SUBSET_FILE)})
    return generator


def sample(
    generator: str | Path, num_images: int, *, cell: str | None = None, seed: int = 0, device: DeviceChoice = "auto"
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_]]:
    """Draw labelled images, every class as often: the first ones that `export` would write with this seed.

    Args:
        generator: what `train_gan` returned, or a run.
        cell: of a run: REGIME/REPLICATE, such as balanced-100/0; None: replicate 0 of the regime with most data.

    Returns:
        images (N, H, W), of colour (N, H, W, 3), uint8; and the names of their classes (N,).

    Raises:
        UsageError: there is no generator, no such cell, or fewer than one image is asked for.
        CorruptFileError: the generator cannot be read.
    """
    if num_images < 1:
        raise UsageError(f"{num_images} images are asked for; ask for 1 or more")
    check_number(num_images)
    check_seed(seed)
    compute = resolve_compute(device=device, precision="auto")
    network, class_names = load_generator(_generator_folder(given_path(generator), cell) / GENERATOR_FILE)
    labels = class_sequence(apportion(num_images, np.ones(len(class_names), np.int64)))
    rng = torch_stream(seed, "latent", 0)
    drawn = draw_images(network.to(compute.device).eval(), labels, rng=rng, compute=compute)
    images = drawn[:, 0] if drawn.shape[1] == 1 else np.ascontiguousarray(drawn.transpose(0, 2, 3, 1))
    return images, np.array(class_names)[labels]


def export(
    generator: str | Path,
    output: str | Path,
    num_images: int = 10_000,
    *,
    cell: str | None = None,
    class_counts: Mapping[str, int] | None = None,
    mix_real: bool = False,
    file_format: FileFormat = "parquet",
    title: str = "",
    seed: int = 0,
    device: DeviceChoice = "auto",
    progress: bool = False,
) -> Path:
    """Write a labelled synthetic data set with card and provenance, as `augment export` does; return its folder.

    Args:
        generator, cell: as `sample` takes them.
        class_counts: images of each class by name, which then add up to the number of images; None: every class as
            often.
        mix_real: whether to add the real images, marked `synthetic` = false.

    Raises:
        UsageError: there is no generator, the request does not fit it, or `output` is already there.
        CorruptFileError: the generator cannot be read.
        AugmentError: `output` cannot be written.
    """
    if file_format not in get_args(FileFormat):
        raise UsageError(f"file_format {file_format!r} is none of {', '.join(get_args(FileFormat))}")
    folder, place = _generator_folder(given_path(generator), cell), given_path(output)
    real = folder.parent / SUBSET_FILE
    if mix_real and not real.is_file():
        raise UsageError(f"mix_real needs the images that the generator learnt from, and {real} is missing")
    counts = None
    if class_counts is not None:
        counts = _counts(class_counts, load_generator(folder / GENERATOR_FILE)[1])
        num_images = sum(counts)
    request = ExportRequest(
        num_images=num_images,
        seed=seed,
        file_format=file_format,
        class_counts=counts,
        real=read_subset(real) if mix_real else None,
        title=title,
        workers=os.cpu_count() or 1,
    )

    def on_progress(made: ExportProgress) -> None:
        _tell("export", made.done / made.total, f"{made.done:,} of {made.total:,} images")

    with shown_progress(progress, total_weight=1.0):
        compute = resolve_compute(device=device, precision="auto")
        export_dataset(folder, place, request, compute=compute, on_progress=on_progress)
    return place


def _tell(stage: str, share: float, detail: str) -> None:
    for listener in listeners():
        listener.update(StageUpdate(cell="", stage=stage, weight=1.0, share=share, detail=detail))


def _generator_folder(place: Path, cell: str | None) -> Path:
    """Find a generator: in its own folder, in what `train_gan` made, or in a run's cell."""
    if cell is None:
        for folder in (place, place / "generator"):
            if (folder / GENERATOR_FILE).is_file():
                return folder
    found = generators_of(place, GENERATOR_FILE)
    if not found:
        raise UsageError(f"{place} holds no trained generator; give what train_gan returned, or a run")
    cell = of_most_data(found) if cell is None else cell
    if cell not in found:
        raise UsageError(f"{place} has no generator of cell {cell!r}; it has {', '.join(found)}")
    return found[cell]


def _counts(wanted: Mapping[str, int], class_names: tuple[str, ...]) -> tuple[int, ...]:
    unknown = [name for name in wanted if name not in class_names]
    if unknown:
        raise UsageError(f"class_counts: no class {unknown[0]!r}; there are {', '.join(class_names)}")
    broken = [name for name, count in wanted.items() if not isinstance(count, int | np.integer)]
    if broken:
        raise UsageError(f"class_counts: {wanted[broken[0]]!r} for class {broken[0]!r} is no whole number")
    return tuple(int(wanted.get(name, 0)) for name in class_names)
