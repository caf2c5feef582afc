"""Stage `generator` where that is not the GAN: a built-in one, a command, a function or ready images fill a cell."""

import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
from pydantic import BaseModel, Field, PositiveInt

from data.base.errors import AugmentError, UsageError, first_line
from data.base.files import digest_file, write_json, write_text
from data.base.plugins import load_named
from data.images import LabelledImages
from data.parquet import write_subset
from evaluation.baselines import BASELINES, Make
from flows.study.generators.made import (
    checked_arrays,
    dataset_at,
    first_of_each,
    read_made,
    read_ready_made,
    write_folder,
    write_npz,
    write_parquet,
    written_at,
)
from flows.study.generators.naming import (
    check_allowed_command,
    filled_in,
    generator_name,
    kind_of,
    uses,
)
from flows.study.generators.programs import run_program
from flows.study.job import OPERATIONS_FILE, Job
from gan.export import PROVENANCE_FILE, SAMPLES_FILE
from gan.grid import write_grid

LOG_FILE = "generator.log"
GRID_FILE = "real-and-generated.png"
WORK = ".work"  # what a command is given and writes, until it is read
_GRID_COLUMNS, _GRID_ROWS = 8, 20


class OutsideSettings(BaseModel, frozen=True):
    """A generator that is not the GAN.

    Attributes:
        resize: side in pixels that ready images get, as the real ones did; 0: none.
        time_limit: of a command, in seconds; no result depends on it.
    """

    generator: str
    images_per_class: PositiveInt
    resize: int = 0
    time_limit: float = Field(exclude=True)


def run_generator(job: Job[OutsideSettings], *, subset: LabelledImages, origin: dict[str, str]) -> str:
    """Leave the images that the generator makes of the subset, with a picture and their provenance.

    Args:
        origin: name and digests of what the subset was drawn from, and of the subset's file; for the provenance alone.

    Raises:
        UsageError: it is not allowed to run here, or gives other images than it should.
        AugmentError: it fails, or is not done in time.
    """
    settings = job.settings
    _clear(job.output)
    samples = _MAKERS[kind_of(settings.generator)](job, subset)
    write_subset(job.output / SAMPLES_FILE, samples)
    _write_picture(job.output / GRID_FILE, samples, subset)
    write_json(job.output / OPERATIONS_FILE, {"training": 0})  # unknown
    provenance = origin | {
        "generator": digest_file(job.output / SAMPLES_FILE),
        "cell": job.cell,
        "seed": job.seed,
        "made_by": generator_name(settings.generator),
    }
    write_json(job.output / PROVENANCE_FILE, provenance)
    shutil.rmtree(job.output / WORK, ignore_errors=True)
    return f"{len(samples):,} images"


def _clear(directory: Path) -> None:
    """Remove what an attempt that failed has left, but for its log, which the next one replaces."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(directory / WORK, ignore_errors=True)
    for path in directory.iterdir():
        if path.is_file() and path.name != LOG_FILE:
            path.unlink()


def _built_in(job: Job[OutsideSettings], subset: LabelledImages) -> LabelledImages:
    make = BASELINES[job.settings.generator]
    images, labels = make(subset.images, subset.labels, job.settings.images_per_class, job.seed)
    return _complete(checked_arrays(images, labels, real=subset, what=job.settings.generator), job, subset)


def _function(job: Job[OutsideSettings], subset: LabelledImages) -> LabelledImages:
    what = f"the generator {job.settings.generator}"
    make = load_named(job.settings.generator, what="generator")
    if not callable(make):
        raise UsageError(f"{what} is no function; it is called with (images, labels, num_images, seed)")
    log = job.output / LOG_FILE
    try:
        found = cast(Make, make)(subset.images.copy(), subset.labels.copy(), job.settings.images_per_class, job.seed)
    except AugmentError:
        raise
    except Exception as error:  # whatever a user's code raises
        write_text(log, traceback.format_exc())
        raise AugmentError(
            f"{what} failed with {type(error).__name__}: {first_line(error)}; all of it in {log}; mend it and go on "
            "with --resume"
        ) from None  # not an error that may pass: it would be tried again
    if not (isinstance(found, tuple) and len(found) == 2):
        raise UsageError(f"{what} returned {type(found).__name__}; return (images, labels)")
    return _complete(checked_arrays(*found, real=subset, what=what), job, subset)


def _command(job: Job[OutsideSettings], subset: LabelledImages) -> LabelledImages:
    text, work, log = job.settings.generator, job.output.resolve() / WORK, job.output / LOG_FILE
    check_allowed_command(text)
    given: dict[str, tuple[Path, Callable[[Path, LabelledImages], None]]] = {
        "subset": (work / "subset", write_parquet),
        "subset_folder": (work / "subset-folder", write_folder),
        "subset_npz": (work / "subset.npz", write_npz),
    }
    for placeholder, (place, write) in given.items():
        if uses(text, placeholder):
            write(place, subset)
    work.mkdir(exist_ok=True)
    words = filled_in(
        text,
        {placeholder: str(place) for placeholder, (place, _) in given.items()}
        | {
            "output": str(work / "output"),
            "num_images": str(job.settings.images_per_class),
            "seed": str(job.seed % 2**31),  # what any library takes for a seed
        },
    )
    run_program(
        words,
        log=log,
        limit_seconds=job.settings.time_limit,
        on_wait=lambda elapsed, line: job.on_update(0.0, f"{elapsed:,.0f} s  {line}"),
    )
    output = written_at(work / "output")
    if output is None:
        raise AugmentError(f"the generator's command wrote nothing at {{output}}; its log is {log}")
    try:
        samples = read_made(dataset_at(str(output)), real=subset)
        return _complete(samples, job, subset)
    except AugmentError as error:
        reason = str(error).replace(f"{output}", "{output}")
        raise UsageError(f"what the generator's command wrote cannot be used: {reason}; its log is {log}") from None


def _images(job: Job[OutsideSettings], subset: LabelledImages) -> LabelledImages:
    samples = read_ready_made(job.settings.generator, subset.shape, subset.class_names, job.settings.resize)
    most = job.settings.images_per_class
    return first_of_each(samples, real=subset, most=most, least=1, what=job.settings.generator)


_MAKERS: dict[str, Callable[[Job[OutsideSettings], LabelledImages], LabelledImages]] = {
    "built in": _built_in,
    "function": _function,
    "command": _command,
    "images": _images,
}


def _complete(samples: LabelledImages, job: Job[OutsideSettings], subset: LabelledImages) -> LabelledImages:
    wanted = job.settings.images_per_class
    return first_of_each(samples, real=subset, most=wanted, least=wanted, what=generator_name(job.settings.generator))


def _write_picture(path: Path, samples: LabelledImages, subset: LabelledImages) -> None:
    """Write real images beside generated ones, a row for each of the first classes that have both."""
    counts = np.minimum(subset.class_counts(), samples.class_counts())
    labels = np.flatnonzero(counts > 0)[:_GRID_ROWS]

    def rows(images: LabelledImages) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        places = [np.resize(np.flatnonzero(images.labels == label), _GRID_COLUMNS) for label in labels]
        return images.images[np.concatenate(places)]

    write_grid(path, real=rows(subset), fake=rows(samples), columns=_GRID_COLUMNS)
