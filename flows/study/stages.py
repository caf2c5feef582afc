"""Stages of a cell, and the rule that skips a finished one.

A stage is finished when its record holds the same digest of (configuration, inputs' digests, code version) and its
outputs are as it left them. So a killed run goes on behind the last finished stage, and an edited file is made again.
"""

import errno
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from data.base.device import Compute
from data.base.errors import CorruptFileError
from data.base.files import digest_file, digest_json, is_below, read_json, read_model, write_json
from data.base.memory import forget_peak_memory, peak_memory_bytes
from data.base.randomness import child_seed, numpy_stream
from data.images import LabelledImages
from data.parquet import read_published, read_subset, write_subset
from data.regimes import draw_subset
from data.sources.registry import Source
from evaluation.arms import FILTERED_ARM, HEADLINE_ARM, HEADLINE_REFERENCE, training_set
from evaluation.classifiers import ClassifierProgress, FitOptions, fit_classifier
from evaluation.config import ArmName
from evaluation.features import feature_network, instrument_directory
from evaluation.filtering import confident_samples
from evaluation.metrics import accuracy, measured, tail_classes
from evaluation.predictions import predictions_on, read_predictions, write_predictions
from evaluation.reporting.report import CellFacts, StageTiming
from evaluation.samples import RealData, SampleEvaluation, evaluate_samples, write_pictures
from evaluation.statistics import mcnemar
from flows.study.config import StudyConfig
from flows.study.run_directory import Cell, code_digest
from gan.export import GENERATOR_FILE, PROVENANCE_FILE, ExportProgress, ExportRequest, export_dataset
from gan.training import TrainingProgress, train

EVALUATION_FILE = "evaluation.json"

OnUpdate = Callable[[float, str], None]  # finished share in [0, 1], a line of detail


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A step of a cell: what it depends on, and what it leaves behind.

    Attributes:
        inputs: everything the outputs depend on, as JSON values (configuration, digests).
        rooms: the packages whose code the outputs depend on.
        work: makes the outputs, telling how far it is, and returns one line on how it went.
        outputs: lists the files that were made.
    """

    cell: Cell
    name: str
    inputs: Mapping[str, object]
    rooms: tuple[str, ...]
    work: Callable[[OnUpdate], str]
    outputs: Callable[[], Iterable[Path]]

    @property
    def record_file(self) -> Path:
        return self.cell.directory / "stages" / f"{self.name}.json"

    def digest(self) -> str:
        """Return the digest that decides whether the stage's outputs are up to date."""
        return digest_json({"stage": self.name, "inputs": self.inputs, "code": code_digest(*self.rooms)})

    def is_finished(self) -> bool:
        """Tell whether the outputs are there and belong to these inputs."""
        if not self.record_file.exists():
            return False
        try:
            record = read_json(self.record_file)
            files: dict[str, str] = record["outputs"]
            return bool(record["digest"] == self.digest()) and all(
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

    def run(self, on_update: OnUpdate) -> str:
        """Do the work and record it; return the work's line."""
        self.record_file.unlink(missing_ok=True)
        forget_peak_memory()
        started = time.monotonic()
        line = self.work(on_update)
        files = {str(path.relative_to(self.cell.directory)): digest_file(path) for path in sorted(self.outputs())}
        seconds = round(time.monotonic() - started, 3)
        record = {
            "digest": self.digest(),
            "inputs": dict(self.inputs),
            "code": code_digest(*self.rooms),
            "outputs": files,
            "elapsed_seconds": seconds,
            "peak_memory_bytes": peak_memory_bytes(),
        }
        write_json(self.record_file, record)
        return f"{line}, {seconds:.1f} s"


def stage_timings(cell: Cell) -> dict[str, StageTiming]:
    """Return what each finished stage of the cell cost.

    Raises:
        CorruptFileError: a stage's record cannot be read.
    """
    timings = {}
    for path in sorted((cell.directory / "stages").glob("*.json")):
        try:
            record = read_json(path)
            timings[path.stem] = StageTiming(
                elapsed_seconds=record["elapsed_seconds"], peak_memory_bytes=record["peak_memory_bytes"]
            )
        except (KeyError, TypeError, ValidationError) as error:
            raise CorruptFileError(f"{path} is not a stage's record; delete it to make the stage again") from error
    return timings


def read_synthetic(cell: Cell) -> LabelledImages:
    """Read the cell's synthetic data set; its PNG images are decoded once a cell, not once for each arm.

    Raises:
        CorruptFileError: no shards, a damaged shard, or an image that cannot be decoded.
    """
    return _read_synthetic(cell.synthetic_directory, digest_file(cell.synthetic_directory / PROVENANCE_FILE))


@lru_cache(maxsize=1)  # of the cell at work: cells follow each other in a process
def _read_synthetic(directory: Path, provenance: str) -> LabelledImages:  # noqa: ARG001 (the key: a set made again)
    return read_published(directory)


def subset_stage(cell: Cell, config: StudyConfig, *, source: Source) -> Stage:
    """Draw the cell's subset: all that its GAN and its classifiers may see of the train split."""

    def work(on_update: OnUpdate) -> str:
        rng = numpy_stream(config.seed, "split", cell.regime.name, cell.replicate)
        subset = draw_subset(source.train, cell.regime, rng=rng)
        write_subset(cell.subset_file, subset)
        on_update(1.0, "")
        return f"{len(subset):,} images"

    return Stage(
        cell=cell,
        name="subset",
        inputs={"source": source.train.digest(), "regime": cell.name, "seed": config.seed},
        rooms=("data",),
        work=work,
        outputs=lambda: [cell.subset_file],
    )


def generator_stage(cell: Cell, config: StudyConfig, *, source: Source, compute: Compute) -> Stage:
    """Train the GAN on the subset alone."""
    directory = cell.generator_directory
    subset_digest = digest_file(cell.subset_file)

    def work(on_update: OnUpdate) -> str:
        last: list[TrainingProgress] = []

        def on_progress(progress: TrainingProgress) -> None:
            last[:] = [progress]
            detail = (
                f"step {progress.step}/{progress.num_steps}  D {progress.discriminator_loss:.3f}  "
                f"G {progress.generator_loss:.3f}  {progress.images_per_second:,.0f} images/s  "
                f"{progress.remaining_seconds:.0f} s left"
            )
            on_update(progress.step / progress.num_steps, detail)

        train(
            read_subset(cell.subset_file),
            directory,
            config=config.gan,
            seed=child_seed(config.seed, "gan", cell.regime.name, cell.replicate),
            compute=compute,
            on_progress=on_progress,
        )
        provenance = {
            "source": source.name,
            "source_train": source.train.digest(),
            "subset": subset_digest,
            "generator": digest_file(directory / GENERATOR_FILE),
            "cell": cell.name,
            "seed": config.seed,
        }
        write_json(directory / PROVENANCE_FILE, provenance)
        rate = f", {last[0].images_per_second:,.0f} images/s" if last else ""
        return f"{config.gan.steps:,} steps{rate}"

    return Stage(
        cell=cell,
        name="generator",
        inputs={
            "gan": config.gan.model_dump(mode="json"),
            "compute": compute.as_dict(),
            "subset": subset_digest,
            "seed": config.seed,
        },
        rooms=("data", "gan"),
        work=work,
        outputs=lambda: [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")],
    )


def synthetic_stage(cell: Cell, config: StudyConfig, *, num_classes: int, compute: Compute) -> Stage:
    """Draw the labelled synthetic data set from the trained generator."""
    directory = cell.synthetic_directory
    num_images = config.sampling.images_per_class * num_classes

    def work(on_update: OnUpdate) -> str:
        def on_progress(progress: ExportProgress) -> None:
            detail = f"{progress.done:,} of {progress.total:,} images"
            on_update(progress.done / progress.total, detail)

        if directory.exists():
            shutil.rmtree(directory)
        export_dataset(
            cell.generator_directory,
            directory,
            ExportRequest(
                num_images=num_images,
                shard_size=config.sampling.shard_size,
                seed=child_seed(config.seed, "samples", cell.regime.name, cell.replicate),
            ),
            compute=compute,
            on_progress=on_progress,
        )
        return f"{num_images:,} images"

    return Stage(
        cell=cell,
        name="synthetic",
        inputs={
            "sampling": config.sampling.model_dump(mode="json"),
            "generator": digest_file(cell.generator_directory / GENERATOR_FILE),
            "compute": compute.as_dict(),
            "seed": config.seed,
        },
        rooms=("data", "gan"),
        work=work,
        outputs=lambda: [path for path in directory.rglob("*") if path.is_file()],
    )


def samples_stage(cell: Cell, config: StudyConfig, *, source: Source, compute: Compute) -> Stage:
    """Judge the synthetic images themselves: fidelity, memorisation, labels, and the audit's checks."""
    directory = cell.samples_directory
    settings = config.evaluation.samples

    def work(on_update: OnUpdate) -> str:
        def on_progress(progress: ClassifierProgress) -> None:
            detail = f"training the measuring instrument, step {progress.step}/{progress.num_steps}"
            on_update(0.8 * progress.step / progress.num_steps, detail)

        network = feature_network(
            source.train, instrument_directory(), config=settings.features, compute=compute, on_progress=on_progress
        )
        subset, synthetic = read_subset(cell.subset_file), read_synthetic(cell)
        judged = evaluate_samples(
            synthetic,
            real=RealData(subset=subset, train=source.train, test=source.test),
            network=network,
            config=settings,
            seed=child_seed(config.seed, "sample evaluation", cell.regime.name, cell.replicate),
        )
        write_json(directory / EVALUATION_FILE, judged.model_dump(mode="json"))
        write_pictures(directory, judged, synthetic=synthetic, subset=subset)
        failed = [check.name for check in judged.checks if check.passed is False]
        passed = sum(check.passed is True for check in judged.checks)
        return f"{passed} checks passed" + (f", failed: {', '.join(failed)}" if failed else "")

    return Stage(
        cell=cell,
        name="samples",
        inputs={
            "samples": settings.model_dump(mode="json"),
            "compute": compute.as_dict(),
            "subset": digest_file(cell.subset_file),
            "synthetic": digest_file(cell.synthetic_directory / PROVENANCE_FILE),
            "train": source.train.digest(),
            "test": source.test.digest(),
            "seed": config.seed,
        },
        rooms=("data", "evaluation"),
        work=work,
        outputs=lambda: [path for path in directory.rglob("*") if path.is_file()],
    )


def arm_stage(cell: Cell, arm: ArmName, config: StudyConfig, *, source: Source, compute: Compute) -> Stage:
    """Train one arm's classifier and store its predictions on the test set."""
    file = cell.predictions_file(arm)
    evaluation = config.evaluation

    def work(on_update: OnUpdate) -> str:
        def on_progress(progress: ClassifierProgress) -> None:
            detail = (
                f"step {progress.step}/{progress.num_steps}  loss {progress.loss:.3f}  "
                f"{progress.images_per_second:,.0f} images/s"
            )
            on_update(progress.step / progress.num_steps, detail)

        subset, synthetic = read_subset(cell.subset_file), read_synthetic(cell)
        options = FitOptions(
            config=evaluation.classifier,
            added_shares=evaluation.added_shares(len(subset)),
            seed=child_seed(config.seed, "classifier", cell.regime.name, cell.replicate, arm),
            compute=compute,
            on_progress=on_progress,
        )
        if arm == FILTERED_ARM:
            synthetic = confident_samples(
                synthetic,
                subset=subset,
                deformation=evaluation.deformation,
                config=evaluation.filter,
                options=options,
            )
        training = training_set(
            arm,
            subset=subset,
            synthetic=synthetic,
            deformation=evaluation.deformation,
            evened_out_share=evaluation.evened_out_share,
        )
        classifier = fit_classifier(training, options)
        predictions = predictions_on(source.test, classifier.predict_probabilities(source.test.images))
        write_predictions(file, predictions)
        return f"accuracy {accuracy(predictions):.2%}"

    return Stage(
        cell=cell,
        name=f"arm {arm}",
        inputs={
            "arm": arm,
            "evaluation": evaluation.model_dump(mode="json", exclude={"arms", "confidence", "wished_gain", "samples"}),
            "compute": compute.as_dict(),
            "subset": digest_file(cell.subset_file),
            "synthetic": digest_file(cell.synthetic_directory / PROVENANCE_FILE),
            "test": source.test.digest(),
            "seed": config.seed,
        },
        rooms=("data", "evaluation"),
        work=work,
        outputs=lambda: [file],
    )


def summarise_cell(cell: Cell, config: StudyConfig) -> None:
    """Write `cell.json`, which marks the cell as finished: the metrics of each arm, from its stored predictions."""
    predictions = {arm: read_predictions(cell.predictions_file(arm)) for arm in config.evaluation.arms}
    tail = tail_classes(read_subset(cell.subset_file).class_counts())
    facts = CellFacts(
        regime=cell.regime.name,
        replicate=cell.replicate,
        subset=digest_file(cell.subset_file),
        generator=digest_file(cell.generator_directory / GENERATOR_FILE),
        predictions={arm: digest_file(cell.predictions_file(arm)) for arm in predictions},
        headline=mcnemar(predictions[HEADLINE_REFERENCE], predictions[HEADLINE_ARM]),
        samples=read_model(cell.samples_directory / EVALUATION_FILE, SampleEvaluation),
        metrics={arm: measured(answers, tail) for arm, answers in predictions.items()},
        tail=tuple(tail.tolist()),
    )
    write_json(cell.summary_file, facts.model_dump(mode="json"))
