"""Judging a ready-made synthetic set: a study whose generator is images that are there already.

Whoever judges such a set does not know what its generator saw. With folds of one data set that matters: where it saw
all of the real images, each fold's test images are among what the synthetic ones were made from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from data.base.errors import AugmentError, UsageError
from data.base.files import is_there
from data.config import DataConfig
from data.images import LabelledImages
from data.sources.registry import KINDS
from data.sources.source import Source
from flows.study.config import StudyConfig, resolve_config
from flows.study.designs import resolve_study, study_source
from flows.study.generators.made import dataset_at, first_of_each, read_ready_made

Result = TypeVar("Result")

LEAST_PER_CLASS = 2  # synthetic images, below which a class has no spread to look at


@dataclass(frozen=True, kw_only=True)
class JudgeRequest:
    """What is judged against what.

    Attributes:
        real: the labelled real images: a path, `KIND:PATH`, or the name of a data set.
        synthetic: the labelled synthetic ones: a path, or `KIND:PATH`.
        test: real images that the generator surely did not see, in the form of `real`; "" for none.
        resize: side in pixels that all images get; 0: none.
        settings: further keys of the configuration with values.
        assignments: `key=value` texts.
    """

    real: str
    synthetic: str
    test: str = ""
    resize: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    assignments: tuple[str, ...] = ()


def judge_config(request: JudgeRequest) -> StudyConfig:
    """Return the configuration of the study that judges the set; both sets are read, and refused where they do not fit.

    Real images with a test split, their own or `test`, are all trained on and judged on that; others go into folds.

    Raises:
        UsageError: nothing at a path, other kinds of data, other sizes or classes, or too few synthetic images.
        AugmentError: one of them cannot be read.
    """
    dataset = _named_or_at(request.real)
    generator = _read_as("--synthetic", lambda: dataset_at(request.synthetic))
    options: dict[str, Any] = {
        "data.dataset": dataset,
        "data.images_per_class": ("all",),
        "generator": generator,
        **({"data.test": _test_path(request.test, dataset)} if request.test else {}),
        **({"data.resize": request.resize} if request.resize else {}),
        **request.settings,
    }
    config = resolve_config(preset_name="quick", file=None, options=options, assignments=request.assignments)
    source = _read_as("--real", lambda: study_source(config.data))
    synthetic = _read_as("--synthetic", lambda: _checked(generator, source, config.data))
    largest = int(synthetic.class_counts().max())
    design = "one data set" if source.held_out else "given test"
    options |= {"data.design": design, "sampling.images_per_class": largest}
    return resolve_study(
        resolve_config(preset_name="quick", file=None, options=options, assignments=request.assignments), source
    )


def _checked(generator: str, source: Source, data: DataConfig) -> LabelledImages:
    real = source.train
    images = read_ready_made(generator, real.shape, real.class_names, data.resize)
    return first_of_each(images, real=real, most=len(images), least=LEAST_PER_CLASS, what=generator)


def _named_or_at(real: str) -> str:
    """Return real images as the configuration takes them: names of data sets stay as they are."""
    return _read_as("--real", lambda: dataset_at(real)) if is_there(real) else real


def _test_path(test: str, dataset: str) -> str:
    """Return the path of the test images, which are of the kind of the others.

    Raises:
        UsageError: they are of another kind, or belong to a data set that has a name.
    """
    found = _read_as("--test", lambda: dataset_at(test))
    kind, _, path = found.partition(":")
    wanted = dataset.partition(":")[0]
    if wanted not in KINDS:
        raise UsageError(f"--test goes with --real PATH, not with a data set that has a name, such as {dataset}")
    if kind != wanted:
        raise UsageError(f"--test is {kind}:{path}, --real is {dataset}; give both in one form")
    return path


def _read_as(option: str, read: Callable[[], Result]) -> Result:
    try:
        return read()
    except AugmentError as error:
        raise type(error)(f"{option}: {error}") from error
