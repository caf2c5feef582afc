"""The run directory: the contract between stages, and the lock that keeps two processes from sharing one."""

import platform
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from data.base.device import Compute, resolve_compute
from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.files import digest_json, read_json, read_model, read_record, write_json, write_text
from data.base.names import safe_file_name
from data.design import Design, OneDataSet
from data.regimes import Regime
from data.sources.registry import Source
from evaluation.facts import DatasetFacts, DesignFacts, Looks
from evaluation.reporting.run_files import CONFIG_FILE, ENVIRONMENT_FILE
from flows.study.config import ComputeConfig, StudyConfig, to_toml, validate_config
from flows.study.designs import Designs, study_warning
from flows.study.job import LABELLED_IMAGES_FILE
from flows.study.store import redact, store_of

FORMAT_VERSION = 2
DEFAULT_RUNS_DIRECTORY = Path("runs")
DATASET_FILE = "dataset.json"
LOOKS_FILE = "looks.json"
POLICY_FILE, SUBSET_FILE = "policy.json", "subset.parquet"  # of a cell
RUN_FILES = (CONFIG_FILE, ENVIRONMENT_FILE, DATASET_FILE, LOOKS_FILE)


@dataclass(frozen=True)
class Cell:
    """One (regime, replicate) of a study and where its files lie."""

    run_directory: Path
    regime: Regime
    replicate: int

    @property
    def name(self) -> str:
        return f"{self.regime.name}/{self.replicate}"

    @property
    def directory(self) -> Path:
        return self.run_directory / "cells" / self.regime.name / str(self.replicate)

    @property
    def subset_file(self) -> Path:
        return self.directory / SUBSET_FILE

    @property
    def policy_file(self) -> Path:
        """The policy of classical augmentation, and why it is that one."""
        return self.directory / POLICY_FILE

    @property
    def labelling_directory(self) -> Path:
        """Images without labels that a classifier of the subset labelled, where the study has such images."""
        return self.directory / "labelling"

    @property
    def labelled_images_file(self) -> Path:
        return self.labelling_directory / LABELLED_IMAGES_FILE

    @property
    def generator_directory(self) -> Path:
        return self.directory / "generator"

    @property
    def synthetic_directory(self) -> Path:
        return self.directory / "synthetic"

    @property
    def samples_directory(self) -> Path:
        """How the synthetic images were judged: evaluation.json and pictures."""
        return self.directory / "samples"

    @property
    def summary_file(self) -> Path:
        return self.directory / "cell.json"

    def predictions_file(self, arm: str, seed: int = 0) -> Path:
        """Return where the predictions of the arm's classifier of one seed lie."""
        folder = f"{arm} seed {seed}" if seed else arm  # of its own: a stage's folder holds nothing of another stage
        return self.directory / "arms" / folder / "predictions.parquet"


def study_cells(config: StudyConfig, run_directory: Path) -> list[Cell]:
    """Return all cells of a study, in order; a regime that a look has decided gets no more."""
    looks = looks_at(run_directory)
    return [
        Cell(run_directory, regime, replicate)
        for regime in config.regimes
        for replicate in range(
            config.first_replicate,
            config.first_replicate + looks.replicates_of(regime.name, wanted=config.num_replicates),
        )
    ]


def new_run_location(runs_directory: Path | str, config: StudyConfig) -> str:
    """Return the path or URL of a run that does not exist yet: time of start, data set, configuration digest."""
    runs = store_of(runs_directory)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    base = f"{stamp}-{safe_file_name(config.data.dataset)}-{digest_json(config.model_dump(mode='json'))[:6]}"
    name, count = base, 1
    while runs.child(name).exists():
        count += 1
        name = f"{base}-{count}"
    return runs.child(name).location


def load_config_at(location: str | Path) -> StudyConfig:
    """Read the configuration of a run that lies at a path or URL.

    Raises:
        UsageError: not a run directory, or one of another version.
        CorruptFileError: its configuration cannot be read.
    """
    with store_of(location).fetched(*RUN_FILES) as directory:
        return load_run_config(directory)


@contextmanager
def locked(file: Path, *, busy: AugmentError, advice: str) -> Iterator[None]:
    """Hold a lock file while the block runs; it is free again when this process ends, even a killed one.

    Args:
        busy: raised where another process holds it.
        advice: what to do where its folder cannot be written.

    Raises:
        AugmentError: its folder cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise busy from error
    except OSError as error:
        raise AugmentError(f"cannot write {file.parent}: {error.strerror or error}; {advice}") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def open_run(run_directory: Path, config: StudyConfig) -> Iterator[Compute]:
    """Lock the run directory, write or check its configuration and environment, and resolve the device.

    Raises:
        UsageError: the directory belongs to another configuration or another version.
        AugmentError: it cannot be written, or another process works in it.
    """
    busy = AugmentError(
        f"another process is working in {run_directory}; wait for it, or start another run with --run-dir"
    )
    with locked(run_directory / ".lock", busy=busy, advice="choose another place with --run-dir"):
        if (run_directory / CONFIG_FILE).exists():
            before = load_run_config(run_directory)
            if not grows_from(before, config):
                raise UsageError(
                    f"{run_directory} belongs to another configuration; a run may get more replicates, regimes and "
                    "classifier seeds, and nothing else; choose another --run-dir"
                )
            if config != before:
                write_text(run_directory / CONFIG_FILE, to_toml(config))
        else:
            write_text(run_directory / CONFIG_FILE, to_toml(config))
        compute = _apply_compute(config.compute)
        write_json(run_directory / ENVIRONMENT_FILE, _environment_of(run_directory, config, compute))
        yield compute


def _environment_of(run_directory: Path, config: StudyConfig, compute: Compute) -> dict[str, Any]:
    """Return what the run's environment.json is to hold: where it began, and each time that it went on."""
    now = describe_environment(config, compute)
    if not (run_directory / ENVIRONMENT_FILE).exists():
        return now
    began = read_record(run_directory / ENVIRONMENT_FILE)
    resumed = began.get("resumed")
    before = resumed if isinstance(resumed, dict) else {}
    facts = {name: now[name] for name in ("created", "machine", "command", "git_commit", "processor", "versions")}
    return began | {"resumed": before | {str(len(before) + 1): facts}}


def load_run_config(run_directory: Path) -> StudyConfig:
    """Read the configuration of a run of this format; its stages may be of an older version's code.

    Raises:
        UsageError: not a run directory, or one of another format.
        CorruptFileError: its configuration cannot be read.
    """
    file = run_directory / CONFIG_FILE
    if not file.is_file():
        raise UsageError(f"{run_directory} is not a run directory (it holds no config.toml)")
    environment = run_directory / ENVIRONMENT_FILE
    if environment.exists():
        facts = read_record(environment)
        versions = facts.get("versions")
        version = versions.get("augmentation-gain") if isinstance(versions, dict) else None
        if facts.get("format_version") != FORMAT_VERSION:
            raise UsageError(
                f"{run_directory} was made by version {version} (format {facts.get('format_version')}), this is "
                f"{_version('augmentation-gain')} (format {FORMAT_VERSION}); continue with that version, "
                "or start a new run"
            )
    try:
        return validate_config(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, UsageError) as error:
        raise CorruptFileError(f"{file} cannot be read ({error}); restore it, or start a new run") from error


def grows_from(before: StudyConfig, now: StudyConfig) -> bool:
    """Tell whether a study is another one with more replicates, regimes or classifier seeds, and nothing else.

    The time limit of a generator's command may differ too.
    """
    more = (
        now.num_replicates >= before.num_replicates
        and set(now.regime_values) >= set(before.regime_values)
        and now.evaluation.classifier_seeds >= before.evaluation.classifier_seeds
    )
    return more and _without_size(now) == _without_size(before)


def _without_size(config: StudyConfig) -> StudyConfig:
    return config.model_copy(
        update={
            "replicates": "auto",
            "generator_time_limit": 1.0,  # no result depends on it
            "data": config.data.model_copy(update={"images_per_class": "auto"}),
            "evaluation": config.evaluation.model_copy(update={"classifier_seeds": 1}),
        }
    )


def dataset_facts_file(run_directory: Path) -> Path:
    """Return where the run's data set is described."""
    return run_directory / DATASET_FILE


def looks_at(run_directory: Path) -> Looks:
    """Return the looks that a run has taken at itself; none of a new one.

    Raises:
        CorruptFileError: what the run says of its looks cannot be read.
    """
    file = run_directory / LOOKS_FILE
    return read_model(file, Looks) if file.exists() else Looks()


def record_look(run_directory: Path, looks: Looks) -> None:
    """Let the run know the looks that it has taken at itself."""
    write_json(run_directory / LOOKS_FILE, looks.model_dump(mode="json"))


def record_source(run_directory: Path, source: Source, designs: Designs, *, generator: str) -> None:
    """Write down which data the run began with, or make sure that they are the same, and the designs of its regimes.

    Raises:
        UsageError: the run began with other data.
        CorruptFileError: what the run says of its data cannot be read.
    """
    before = other_data_of(run_directory, source)
    if before:
        raise UsageError(
            f"{run_directory} began with other data ({before}) than what is there now ({source.name}); "
            "make the old data available again, or start a new run"
        )
    facts = _facts_of(source, designs, generator=generator).model_dump(mode="json")
    file = dataset_facts_file(run_directory)
    if not file.exists() or read_json(file) != facts:  # regimes may have been added
        write_json(file, facts)


def other_data_of(run_directory: Path, source: Source) -> str:
    """Return the name of the data that the run began with if they are not those of `source`, else "".

    Raises:
        CorruptFileError: what the run says of its data cannot be read.
    """
    file = dataset_facts_file(run_directory)
    if not file.exists():
        return ""
    before, now = read_model(file, DatasetFacts), _facts_of(source, {}, generator="gan")
    same = all(
        getattr(before, part) == getattr(now, part) for part in ("train_digest", "test_digest", "unlabelled_digest")
    )
    return "" if same else before.name


def _facts_of(source: Source, designs: Designs, *, generator: str) -> DatasetFacts:
    return DatasetFacts(
        name=source.name,
        warning=study_warning(source, designs, generator=generator),
        num_train=len(source.train),
        num_test=len(source.test),
        image_shape=source.train.shape,
        class_names=source.train.class_names,
        train_digest=source.train.digest(),
        test_digest=source.test.digest(),
        unlabelled_digest="" if source.unlabelled is None else source.unlabelled.images.digest(),
        designs={name: design_facts(design) for name, design in designs.items()},
    )


def design_facts(design: Design) -> DesignFacts:
    """Describe a design for the report."""
    split = design.split(0)
    return DesignFacts(
        name=design.name,
        sentence=design.sentence,
        folds=design.folds,
        num_subset=int(design.regime.wanted(split.pool).sum()),
        num_pool=len(split.pool),
        drawn_share=design.drawn_share,
        num_test=len(design.images) if isinstance(design, OneDataSet) else len(split.test),
        num_beside=0 if split.beside is None else len(split.beside),
    )


def describe_environment(config: StudyConfig, compute: Compute) -> dict[str, Any]:
    """Return what a person needs to repeat the run elsewhere: versions, device, threads, git commit."""
    packages = (
        "augmentation-gain", "torch", "torchvision", "prefect", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy"
    )  # fmt: skip
    return {
        "format_version": FORMAT_VERSION,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
        "machine": platform.node(),
        "platform": platform.platform(),
        "processor": _processor_name(),
        "compute": compute.as_dict() | {"threads": torch.get_num_threads()},
        "git_commit": _git_commit(),
        "command": redact(shlex.join(["augment", *sys.argv[1:]])) if Path(sys.argv[0]).name == "augment" else None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": config.seed,
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # a study needs no Prefect, and runs from a checkout too
        return "not installed"


def _apply_compute(config: ComputeConfig) -> Compute:
    if config.threads:
        torch.set_num_threads(config.threads)
    return resolve_compute(device=config.device, precision=config.precision)


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as stream:
            return next((line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")), "unknown")
    except OSError:
        return platform.processor() or "unknown"


def _git_commit() -> str | None:
    try:
        root = Path(__file__).parent
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
