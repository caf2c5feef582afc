"""The configuration of a study: each room's own model, composed. Resolved once, saved with the run, never changed.

Precedence: preset, then TOML file, then command-line options, then `--set key=value`, the last of a key.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import tomli_w
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from data.base.device import DeviceChoice, Precision
from data.base.errors import UsageError
from data.base.limits import GREATEST_SEED
from data.base.settings import Settings
from data.config import DataConfig, ImagesPerClass
from data.regimes import Regime, regime_of
from evaluation.arms import ARMS, BASELINE_ARMS
from evaluation.config import ClassifierConfig
from evaluation.protocol import EvaluationConfig
from flows.study.generators.naming import GAN, allowed_name, kind_of
from gan.config import GanConfig, SamplingConfig

PresetName = Literal["quick", "standard", "full"]
RunnerKind = Literal["auto", "sequential", "threads", "processes", "dask"]

MOST_REPLICATES = 10_000
MOST_AT_ONCE = 1024  # threads, and cells


class ComputeConfig(Settings):
    """Where and how precisely to compute; resolved once per run and recorded in environment.json."""

    device: DeviceChoice = "auto"
    precision: Precision = "auto"
    threads: int = Field(
        default=1,
        ge=0,
        le=MOST_AT_ONCE,
        description="CPU threads of torch; 0 takes all cores. Networks this small gain more from a cell a core",
    )


class RunnerConfig(Settings):
    """Where the cells run. No result depends on it, so a run may continue with another runner than it began with."""

    kind: RunnerKind = Field(
        default="auto", description="auto: processes on a CPU, sequential on a GPU, which cells would share"
    )
    workers: int = Field(
        default=0, ge=0, le=MOST_AT_ONCE, description="cells at a time; 0 fills the cores: cores // compute.threads"
    )
    address: str = Field(default="", description="of a Dask scheduler, tcp://host:port; empty starts a local cluster")

    @model_validator(mode="after")
    def _address_is_for_a_cluster_of_dask(self) -> Self:
        if self.address and self.kind != "dask":
            raise ValueError(f"an address is for the dask runner, not for {self.kind}")
        if self.address and self.workers:
            raise ValueError("with an address the Dask cluster's own workers count; leave the number out")
        return self

    def here(self) -> Self:
        """Return the configuration with "auto" decided for this machine."""
        if self.kind != "auto":
            return self
        import torch  # a configuration is read by commands that compute nothing

        return self.model_copy(update={"kind": "sequential" if torch.cuda.is_available() else "processes"})

    def num_workers(self, compute: ComputeConfig) -> int:
        """Return how many cells run at a time: no more than have `compute.threads` cores each, unless told."""
        cores = os.cpu_count() or 1
        return self.workers or max(1, cores // (compute.threads or cores))


FRESH_REPLICATES = 6  # of the default study


class StudyConfig(Settings):
    """A whole study."""

    seed: int = Field(default=0, ge=0, le=GREATEST_SEED)
    replicates: Annotated[int, Field(ge=1, le=MOST_REPLICATES)] | Literal["auto"] = Field(
        default="auto",
        description=f"how often each regime is repeated; auto: {FRESH_REPLICATES} fresh draws, or each fold twice",
    )
    first_replicate: int = Field(
        default=0, ge=0, le=GREATEST_SEED, description="number of the first one: others are other draws"
    )
    data: DataConfig = DataConfig()
    generator: str = Field(
        default=GAN,
        description="gan; pca-mixture or interpolation, which are cheap; command: PROGRAM … {subset} {output}; "
        "package.module:function; or KIND:PATH, images that are there already",
    )
    generator_time_limit: float = Field(
        default=3600.0, gt=0, description="command: seconds for one cell, after which it is ended"
    )
    gan: GanConfig = GanConfig()
    sampling: SamplingConfig = SamplingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    compute: ComputeConfig = ComputeConfig()

    @field_validator("generator")
    @classmethod
    def _is_known(cls, value: str) -> str:
        value = value.strip()
        kind_of(value)
        return value

    @model_validator(mode="after")
    def _is_no_rival_of_itself(self) -> Self:
        rival = next((arm for arm in self.evaluation.arms if BASELINE_ARMS.get(arm) == self.generator), None)
        if rival is not None:
            raise ValueError(f"the generator {self.generator} is the headline arm's already; leave out the arm {rival}")
        return self

    @model_validator(mode="after")
    def _arms_have_their_images(self) -> Self:
        lacking = [arm for arm in self.evaluation.arms if ARMS[arm].needs_unlabelled]
        if lacking and not self.data.unlabelled:
            raise ValueError(
                f"evaluation.arms: {', '.join(lacking)} need images without labels; name them in data.unlabelled"
            )
        return self

    @property
    def named_code(self) -> tuple[str, ...]:
        """The references of code that somebody must allow to be loaded (`data.base.plugins`)."""
        named = (
            allowed_name(self.generator) or None,
            self.evaluation.classifier.named_code,
            *self.evaluation.own_policies,
        )
        return tuple(dict.fromkeys(reference for reference in named if reference is not None))

    @property
    def num_replicates(self) -> int:
        """Replicates of each regime, once "auto" is decided.

        Raises:
            ValueError: it is still "auto".
        """
        return int(self.replicates)

    @property
    def regimes(self) -> tuple[Regime, ...]:
        """How much labelled data the study is about, once "auto" is decided.

        Raises:
            ValueError: it is still "auto".
        """
        return tuple(regime_of(value, order=self.data.long_tail_order) for value in self.regime_values)

    @property
    def regime_values(self) -> tuple[ImagesPerClass, ...]:
        """The values of `data.images_per_class`, once "auto" is decided.

        Raises:
            ValueError: it is still "auto".
        """
        if self.data.images_per_class == "auto":
            raise ValueError("the regimes are decided where the data are known: see resolve_study")
        return self.data.images_per_class


def preset(name: PresetName) -> StudyConfig:
    """Return a ready configuration. Times are for MNIST on 2 CPU cores with AVX512-BF16, two cells at a time.

    - `quick`, the default of every setting: 10 images per class and 6 replicates of a large data set, all images of a
      small one; about 10 minutes.
    - `standard`: 10, 50, 100 and 500 images per class, 10 replicates, longer trainings and a wider classifier; hours.
    - `full`: as standard with all images too, and 20 replicates; a day.

    Raises:
        UsageError: no such preset.
    """
    if name not in get_args(PresetName):
        raise UsageError(f"there is no preset {name!r}; there are {', '.join(get_args(PresetName))}")
    if name == "quick":
        return StudyConfig()
    strong = EvaluationConfig(classifier=ClassifierConfig(steps=2400, width=32))
    if name == "standard":
        regimes = DataConfig(images_per_class=(10, 50, 100, 500))
        return StudyConfig(replicates=10, data=regimes, gan=GanConfig(steps=2000), evaluation=strong)
    return StudyConfig(
        replicates=20,
        data=DataConfig(images_per_class=(10, 50, 100, 500, "all")),
        gan=GanConfig(steps=3000),
        evaluation=strong,
    )


def resolve_config(
    *,
    preset_name: PresetName,
    file: Path | None,
    options: Mapping[str, object],
    assignments: Sequence[str],
) -> StudyConfig:
    """Compose and validate a configuration.

    Args:
        options: dotted keys with values, from command-line options; None means "not given".
        assignments: `key=value` texts with dotted keys.

    Raises:
        UsageError: unreadable file, unknown key, or a value out of its range.
    """
    tree: dict[str, Any] = preset(preset_name).model_dump()
    if file is not None:
        changes = read_toml(file)
        changes.pop("runner", None)  # see resolve_runner
        _merge(tree, changes)
    for key, value in options.items():
        if value is not None:
            _assign(tree, key, value)
    for text in assignments:
        key, separator, value_text = text.partition("=")
        if not separator:
            raise UsageError(f"--set takes key=value, not {text!r}; for example --set gan.learning_rate=2e-4")
        _assign(tree, key.strip(), _parse_value(value_text.strip()))
    return validate_config(tree)


def resolve_runner(
    *, file: Path | None, kind: str | None = None, workers: int | None = None, address: str | None = None
) -> RunnerConfig:
    """Compose the table `[runner]` of a TOML file with command-line options; an address alone asks for Dask.

    Raises:
        UsageError: unreadable file, unknown key, or a value out of its range.
    """
    table = read_toml(file).get("runner", {}) if file is not None else {}
    if not isinstance(table, dict):
        raise UsageError(f"[runner] in {file} must be a table with kind, workers and address")
    if kind is None and address and "kind" not in table:
        kind = "dask"
    options = {"kind": kind, "workers": workers, "address": address}
    tree = table | {key: value for key, value in options.items() if value is not None}
    try:
        return RunnerConfig.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["runner", *map(str, first["loc"])])
        raise UsageError(f"configuration {key}: {first['msg'].removeprefix('Value error, ')}") from error


def validate_config(tree: Mapping[str, Any]) -> StudyConfig:
    """Validate a nested mapping as a study's configuration.

    Raises:
        UsageError: with the first thing that is wrong.
    """
    try:
        return StudyConfig.model_validate(tree)
    except ValidationError as error:
        first, *_ = error.errors()
        location = [str(part) for part in first["loc"]]
        others = {_key(each["loc"]) for each in error.errors()} - {_key(first["loc"])}
        more = f" (and {len(others)} more)" if others else ""
        if first["type"] == "extra_forbidden":
            raise UsageError(
                f"unknown configuration key {'.'.join(location)!r}{_did_you_mean(location)}{more}"
            ) from error
        value = "" if isinstance(first["input"], Mapping) else f" = {first['input']!r}"  # a whole table says nothing
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"configuration {_key(first['loc'])}{value}: {message}{more}") from error


def _key(location: Sequence[str | int]) -> str:
    """Return the key that pydantic found wrong, without the one of several types that it tried there."""
    key: list[str] = []
    model: type[BaseModel] | None = StudyConfig
    for part in map(str, location):
        if model is None:
            break
        key.append(part)
        model = _part_of(model, part)
    return ".".join(key)


def _part_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the part of the configuration at a key; None where it has no keys below it."""
    field = model.model_fields.get(name)
    annotation = field.annotation if field else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        UsageError: missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark
    except OSError as error:
        raise UsageError(f"cannot read configuration {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error


def to_toml(config: StudyConfig) -> str:
    """Return the configuration as TOML text that `resolve_config` reads back to an equal one."""
    return tomli_w.dumps(config.model_dump(mode="json"))


def _merge(tree: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _assign(tree: dict[str, Any], dotted_key: str, value: object) -> None:
    *parents, last = dotted_key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise UsageError(f"unknown configuration key {dotted_key!r}: {parent!r} has no keys below it")
    tree[last] = value


def _parse_value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _did_you_mean(location: Sequence[str]) -> str:
    model: type[BaseModel] = StudyConfig
    for part in location[:-1]:
        below = _part_of(model, part)
        if below is None:
            return ""
        model = below
    close = get_close_matches(location[-1], model.model_fields, n=1)
    known = ", ".join(model.model_fields)
    return f"; did you mean {close[0]!r}?" if close else f"; known here are {known}"
