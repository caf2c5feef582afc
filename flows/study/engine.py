"""The rule that skips a finished stage, and the reading of a stage's inputs: what is declared is what is read.

A stage is finished when its record holds the same digest of (settings, inputs, seed, code) and its outputs are as it
left them. So a killed run continues after the last finished stage, and an edited file is made again.
"""

import errno
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from data.base.device import Compute
from data.base.errors import CorruptFileError
from data.base.files import digest_file, digest_json, is_below, read_json, read_record, write_json
from data.base.memory import forget_peak_memory, peak_memory_bytes
from data.base.randomness import child_seed
from data.design import ReplicateSplit
from data.parquet import read_subset
from data.sources.source import Source
from data.unlabelled import UnlabelledImages, drawn_for_cell, rest_of_pool, without_copies
from evaluation.facts import StageTiming
from flows.study.code import code_digest, library_versions
from flows.study.config import StudyConfig
from flows.study.designs import Designs
from flows.study.job import Job, OnUpdate
from flows.study.run_directory import Cell

Settings = TypeVar("Settings", bound=BaseModel)
MADE_BY = {  # of a stage's record: what made it, in words
    "code": "other code",
    "libraries": "other versions of libraries",
    "named_code": "other code of your own",
    "compute": "another device or precision",
}


@dataclass(frozen=True, kw_only=True)
class CellContext:
    """A cell with everything that its stages may declare as an input, or take from the configuration.

    Attributes:
        keep_old_stages: whether a stage that other code, other versions of libraries, or another device or precision
            made counts as finished too.
    """

    cell: Cell
    config: StudyConfig
    compute: Compute
    given_source: Source | None
    given_designs: Designs | None
    keep_old_stages: bool = False

    @property
    def source(self) -> Source:
        """The data set.

        Raises:
            ValueError: it is not at hand, as may be where a run is verified.
        """
        if self.given_source is None:
            raise ValueError("the data set is not at hand")
        return self.given_source

    @cached_property
    def split(self) -> ReplicateSplit:
        """What the cell draws its subset from, and what it is tested on.

        Raises:
            ValueError: the data set is not at hand.
        """
        if self.given_designs is None:
            raise ValueError("the data set is not at hand")
        return self.given_designs[self.cell.regime.name].split(self.cell.replicate)

    @cached_property
    def unlabelled(self) -> UnlabelledImages | None:
        """The images that the cell may use without labels, none of them a test image; None in a study without any.

        The cell's subset must be there.

        Raises:
            ValueError: the data set is not at hand.
        """
        config, source, split = self.config.data, self.source, self.split
        if not config.unlabelled:
            return None
        subset = read_subset(self.cell.subset_file)
        given = source.unlabelled
        images = rest_of_pool(split.pool, subset) if given is None else given.images
        tests = [split.test, source.test, *([] if split.beside is None else [split.beside])]
        return without_copies(drawn_for_cell(images, most=config.max_unlabelled, subset=subset), tests)


@dataclass(frozen=True, kw_only=True)
class Input:
    """Something that stages read.

    Attributes:
        digest: names its content, without reading more than it must.
        read: gives what the stage's function receives.
        of_source: whether it lies in the data set, not in the run.
    """

    digest: Callable[[CellContext], str]
    read: Callable[[CellContext], Any]
    of_source: bool = False


@dataclass(frozen=True, kw_only=True)
class StageKind(Generic[Settings]):
    """One entry of the table of stages: what it reads, what it makes, and the function that does it.

    Attributes:
        title: what people read.
        work: the function: `work(job, **inputs)` makes `job.output` and returns one line on how it went. It reads
            nothing but its arguments.
        reads: names of its inputs, for a variant.
        settings: the part of the configuration that its result depends on, for a variant.
        resolve: decides what is "auto" in the settings where the inputs are known.
        settled_by: the inputs that `resolve` alone reads, and that the work is not given.
        stream: the names of its random stream below the cell's, for a variant.
        output: the file or directory that it makes, for a variant.
        more_output: files that it made beside an output that is a file.
        variants: how often a cell of a regime has it, such as once for each arm; ("",) for once.
        weight: roughly how many seconds of a common laptop's core it takes; only the ratios matter.
        images: how many images it handles in one cell of so many classes; None where that says nothing.
        named_code: digests, by name, of code of the user's own that it runs (`data.base.plugins`).
    """

    name: str
    title: str
    work: Callable[..., str]
    reads: Callable[[str], tuple[str, ...]]
    settings: Callable[[StudyConfig, Cell, str], Settings]
    stream: Callable[[str], tuple[str | int, ...]]
    output: Callable[[Cell, str], Path]
    weight: Callable[[StudyConfig], float]
    images: Callable[[StudyConfig, int], int | None] = lambda config, num_classes: None  # noqa: ARG005
    resolve: Callable[[Settings, Mapping[str, Any]], Settings] = lambda settings, given: settings  # noqa: ARG005
    settled_by: tuple[str, ...] = ()
    more_output: Callable[[Path], list[Path]] = lambda output: []  # noqa: ARG005
    variants: Callable[[StudyConfig, str], tuple[str, ...]] = lambda config, regime: ("",)  # noqa: ARG005
    named_code: Callable[[StudyConfig], Mapping[str, str]] = lambda config: {}  # noqa: ARG005

    @property
    def module(self) -> str:
        """The module whose imports are the stage's code."""
        return self.work.__module__

    def name_of(self, variant: str) -> str:
        """Return the name of a variant within its cell, which is its record's too."""
        return f"{self.name} {variant}".strip()

    def names(self, config: StudyConfig, regime: str) -> list[tuple[str, str]]:
        """Return the name of the stage and the variant, for each variant of a cell of a regime."""
        return [(self.name_of(variant), variant) for variant in self.variants(config, regime)]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of one cell."""

    kind: StageKind[Any]
    variant: str
    context: CellContext
    inputs: Mapping[str, Input]

    @property
    def cell(self) -> Cell:
        return self.context.cell

    @property
    def name(self) -> str:
        """Its name within the cell, and its record's."""
        return self.kind.name_of(self.variant)

    @property
    def record_file(self) -> Path:
        return record_file(self.cell, self.name)

    @property
    def output(self) -> Path:
        return self.kind.output(self.cell, self.variant)

    @cached_property
    def _settings(self) -> BaseModel:
        settings: BaseModel = self.kind.settings(self.context.config, self.cell, self.variant)
        return settings

    @property
    def seed(self) -> int:
        """The seed of everything random in it: by the stage's stream, regime and replicate."""
        stream, *names = self.kind.stream(self.variant)
        return child_seed(self.context.config.seed, stream, self.cell.regime.name, self.cell.replicate, *names)

    def depends_on(self) -> dict[str, Any]:
        """Return everything that the outputs depend on, as JSON values."""
        return {
            "inputs": {name: self.inputs[name].digest(self.context) for name in self.kind.reads(self.variant)},
            "settings": self._settings.model_dump(mode="json"),
            "seed": self.seed,
            **self._made_by(),
        }

    def digest(self) -> str:
        """Return the digest that decides whether the stage's outputs are up to date."""
        return record_digest(self.name, self.depends_on())

    def outputs(self) -> list[Path]:
        """Return the files that it made."""
        if self.output.is_dir():
            return sorted(path for path in self.output.rglob("*") if path.is_file() and not path.name.startswith("."))
        return [self.output, *self.kind.more_output(self.output)]

    def is_finished(self) -> bool:
        """Tell whether the outputs are there and belong to these inputs."""
        if not self.record_file.exists():
            return False
        try:
            record = read_json(self.record_file)
            files: dict[str, str] = record["outputs"]
            return self._is_of(record) and all(
                is_below(self.cell.directory, name)
                and (self.cell.directory / name).is_file()
                and digest_file(self.cell.directory / name) == digest
                for name, digest in files.items()
            )
        except (CorruptFileError, KeyError, TypeError, AttributeError, ValueError):  # such as a name with a NUL
            return False
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return False
            raise  # it may pass, and what is finished must not be made again for it

    def _is_of(self, record: Mapping[str, Any]) -> bool:
        depends_on = self.depends_on()
        if self.context.keep_old_stages:
            depends_on = {name: value for name, value in depends_on.items() if name not in MADE_BY}
            depends_on |= {name: record[name] for name in MADE_BY if name in record}
        return bool(record["digest"] == record_digest(self.name, depends_on))

    def made_otherwise(self) -> list[str]:
        """Say by what it was made that is not at hand now, such as "other code"; [] where it was not, or not made."""
        try:
            record = read_record(self.record_file)
        except CorruptFileError:
            return []
        now = self._made_by()
        return [words for name, words in MADE_BY.items() if record.get(name) != now.get(name)]

    def _made_by(self) -> dict[str, Any]:
        named = dict(self.kind.named_code(self.context.config))
        return {
            "code": code_digest(self.kind.module),
            "libraries": library_versions(self.kind.module),
            **({"named_code": named} if named else {}),
            "compute": self.context.compute.as_dict(),
        }

    def run(self, on_update: OnUpdate) -> str:
        """Read the inputs, do the work and record it; return the work's line."""
        self.record_file.unlink(missing_ok=True)
        forget_peak_memory()
        started = time.monotonic()
        depends_on = self.depends_on()
        given = {name: self.inputs[name].read(self.context) for name in self.kind.reads(self.variant)}
        settings = self.kind.resolve(self._settings, given)
        job = Job(
            cell=self.cell.name,
            settings=settings,
            seed=self.seed,
            compute=self.context.compute,
            code=digest_json([depends_on[name] for name in MADE_BY if name in depends_on]),
            output=self.output,
            on_update=on_update,
        )
        line = self.kind.work(job, **{name: value for name, value in given.items() if name not in self.kind.settled_by})
        seconds = round(time.monotonic() - started, 3)
        config, num_classes = self.context.config, self.context.source.train.num_classes
        record = {
            "digest": record_digest(self.name, depends_on),
            **depends_on,
            "resolved": settings.model_dump(mode="json"),
            "outputs": {str(path.relative_to(self.cell.directory)): digest_file(path) for path in self.outputs()},
            "cost": {
                "title": f"{self.kind.title} {self.variant}".strip(),
                "elapsed_seconds": seconds,
                "peak_memory_bytes": peak_memory_bytes(),
                "images": self.kind.images(config, num_classes),
            },
        }
        write_json(self.record_file, record)
        return f"{line}, {seconds:.1f} s"


def record_file(cell: Cell, name: str) -> Path:
    """Return where the record of the stage `name` lies."""
    return cell.directory / "stages" / f"{name}.json"


def record_digest(name: str, depends_on: Mapping[str, Any]) -> str:
    """Return the digest of a stage's record: of its name and everything that its outputs depend on."""
    return digest_json({"stage": name, **depends_on})


def resolved_settings(cell: Cell, *, names: Iterable[str]) -> dict[str, Any]:
    """Return what the cell's stages decided where their settings said "auto": key to value.

    Raises:
        CorruptFileError: a stage's record cannot be read.
    """
    found: dict[str, Any] = {}
    for name in names:
        record = read_record(record_file(cell, name))
        found |= _decided(record.get("settings", {}), record.get("resolved", {}))
    return found


def named_code_of(cell: Cell, *, names: Iterable[str]) -> dict[str, str]:
    """Return the digests of code of the user's own that the cell's stages ran, by name.

    Raises:
        CorruptFileError: a stage's record cannot be read.
    """
    found: dict[str, str] = {}
    for name in names:
        found |= read_record(record_file(cell, name)).get("named_code", {})
    return found


def _decided(settings: Mapping[str, Any], resolved: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _decided(value, resolved.get(key, {}))
        elif value == "auto" != resolved.get(key):
            found[key] = resolved.get(key)
    return found


def stage_timings(cell: Cell, *, names: Iterable[str]) -> dict[str, StageTiming]:
    """Return what each finished stage of the cell cost, in the order of `names`.

    Raises:
        CorruptFileError: a stage's record cannot be read.
    """
    timings = {}
    for name in names:
        path = record_file(cell, name)
        if not path.exists():
            continue
        try:
            timings[name] = StageTiming.model_validate(read_json(path)["cost"])
        except (KeyError, TypeError, ValidationError) as error:
            raise CorruptFileError(f"{path} is not a stage's record; delete it to make the stage again") from error
    return timings
