"""A study without Prefect: opened, its cells run stage by stage, and reported. `flows.augmentation_study` is this, in
Prefect's tasks."""

import logging
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from data.base.device import Compute
from data.base.errors import AugmentError, UsageError, message_of
from data.base.files import digest_file, read_model, read_record, write_json, write_text
from data.base.memory import is_lack_of_memory
from data.parquet import read_subset
from data.sources.source import Source
from evaluation.arms import ARMS, check_arms
from evaluation.classifiers import check_classifier
from evaluation.facts import CellFacts
from evaluation.metrics import mean_metrics, tail_classes
from evaluation.policy import PolicyChoice
from evaluation.policy_choice import check_own_policies
from evaluation.predictions import read_predictions
from evaluation.reporting.report import StudyReport
from evaluation.reporting.run_files import CONFIG_FILE, ENVIRONMENT_FILE
from evaluation.samples import SampleEvaluation
from flows.study.cells import CellPlace, OpenCell
from flows.study.config import StudyConfig, to_toml
from flows.study.designs import Designs, resolve_study, study_designs, study_source
from flows.study.engine import MADE_BY, CellContext, Stage, named_code_of, resolved_settings
from flows.study.job import OnUpdate, unheard
from flows.study.processes import prepare_worker, worker_context, workers_ended_on_failure
from flows.study.reporting import report_files, write_reports
from flows.study.retrying import patiently
from flows.study.run_directory import (
    DEFAULT_RUNS_DIRECTORY,
    RUN_FILES,
    Cell,
    new_run_location,
    open_run,
    record_source,
    study_cells,
)
from flows.study.stages.arm import arm_variant
from flows.study.stages.samples import EVALUATION_FILE
from flows.study.stages.table import stage_weights, stages_of
from flows.study.store import RunStore, store_of
from flows.study.watching import StageUpdate, listeners
from gan.export import generator_file

LOGGER = logging.getLogger(__name__)
STAGE_RECORDS = "/stages/"  # in the path of each
RunStage = Callable[[Stage, OpenCell], object]


@dataclass(frozen=True, kw_only=True)
class OpenStudy:
    """A study that this process owns: where it works, and what all its cells share."""

    store: RunStore
    directory: Path
    config: StudyConfig
    compute: Compute
    source: Source
    designs: Designs
    keep_old_stages: bool

    def places(self) -> list[CellPlace]:
        """Return all cells, in order."""
        return [
            CellPlace(self.store, cell.regime, cell.replicate, self.keep_old_stages)
            for cell in study_cells(self.config, self.directory)
        ]

    def differences(self) -> str:
        """Say what is not here as it was where the run began, and what becomes of finished stages; "" where all is."""
        return "; ".join(note for note in (self._other_stages(), self._other_threads()) if note)

    def _other_stages(self) -> str:
        patiently(lambda: self.store.pull_folder(self.directory, "cells", only=STAGE_RECORDS))
        made, old, reasons = 0, 0, set[str]()
        for cell in study_cells(self.config, self.directory):
            for stage in stages_of(context_of(cell, self.config, self.compute)):
                if stage.record_file.exists():
                    by = stage.made_otherwise()
                    made, old, reasons = made + 1, old + bool(by), reasons | set(by)
        if not old:
            return ""
        fate = "are kept (--keep-old-stages)" if self.keep_old_stages else "are made again"
        told = " or ".join(reason for reason in MADE_BY.values() if reason in reasons)
        return f"{old} of {made} stages {'was' if old == 1 else 'were'} made by {told} and {fate}"

    def _other_threads(self) -> str:
        began = read_record(self.directory / ENVIRONMENT_FILE).get("compute")
        before = began.get("threads") if isinstance(began, dict) else None
        here = torch.get_num_threads()
        if self.config.compute.threads or before in (None, here):
            return ""
        return (
            f"the run began with {before} threads, and here are {here} (compute.threads is 0, all cores): figures may "
            "differ in their last digits from those of one machine"
        )

    def grown(self, replicates: int) -> "OpenStudy":
        """Return the study with at least so many replicates, which its run then has for good."""
        if replicates <= self.config.num_replicates:
            return self
        config = self.config.model_copy(update={"replicates": replicates})
        write_text(self.directory / CONFIG_FILE, to_toml(config))
        patiently(lambda: self.store.push(self.directory, [self.directory / CONFIG_FILE]))
        return replace(self, config=config)

    def report(self, *, final: bool = True) -> StudyReport:
        """Write the report of the finished cells, and let the run hold it.

        Args:
            final: whether this look at the study ends what was asked for, whatever it shows.
        """
        patiently(lambda: self.store.pull_folder(self.directory, "cells"))
        report = write_reports(self.directory, self.config, designs=self.designs, final=final)
        patiently(lambda: self.store.push(self.directory, report_files(self.directory)))
        return report


@contextmanager
def opened_study(store: RunStore, config: StudyConfig, *, keep_old_stages: bool = False) -> Iterator[OpenStudy]:
    """Own a run while the block runs: a new one, or one that continues.

    Args:
        keep_old_stages: whether stages that other code made count as finished.

    Raises:
        UsageError: the data cannot fill a regime, the run began with other data or another configuration, or code that
            the configuration names is not allowed here, or fails.
        AugmentError: another process works in it, or its place cannot be written.
    """
    source = study_source(config.data)
    config = resolve_study(config, source)
    designs = study_designs(config)
    check_arms(
        config.evaluation,
        regimes=[regime.wanted(source.train) for regime in config.regimes],
        images_per_class=config.sampling.images_per_class,
    )
    check_classifier(
        config.evaluation.classifier,
        shape=source.train.shape,
        num_classes=source.train.num_classes,
        weighted=any(ARMS[arm].balance == "loss" for arm in config.evaluation.arms),
    )
    check_own_policies(config.evaluation, source.train)
    with store.owned(), store.workspace() as directory:
        patiently(lambda: store.pull(directory, RUN_FILES))
        with open_run(directory, config) as compute:
            record_source(directory, source, designs, generator=config.generator)
            patiently(
                lambda: store.push(directory, [directory / name for name in RUN_FILES if (directory / name).exists()])
            )
            yield OpenStudy(
                store=store,
                directory=directory,
                config=config,
                compute=compute,
                source=source,
                designs=designs,
                keep_old_stages=keep_old_stages,
            )


def run_study(config: StudyConfig, location: str | Path | None = None, *, workers: int = 1) -> str | Path:
    """Run a whole study without Prefect; return where it lies.

    Args:
        location: path or fsspec URL where to work, or to continue; a new one below `runs/` where none is given.
        workers: cells at a time, each in a process of its own; with 1 they run in this process. On a GPU too: networks
            this small leave most of it idle, and what a process waits for is its own Python.
    """
    location = location or new_run_location(DEFAULT_RUNS_DIRECTORY, config)
    with opened_study(store_of(location), config) as study:
        differences = study.differences()
        if differences:
            LOGGER.warning(differences)
        if workers == 1:
            for place in study.places():
                run_cell(place, study.config, study.compute, run=run_stage)
        else:
            _run_cells(study, workers=workers)
        study.report()
    return location


def _run_cells(study: OpenStudy, *, workers: int) -> None:
    """Run the cells in processes; the first failure ends all at once.

    Raises:
        AugmentError: a cell failed, or a process was lost.
    """
    told = (dict(os.environ),)
    pool = ProcessPoolExecutor(workers, worker_context(), initializer=prepare_worker, initargs=told)
    with pool as processes, workers_ended_on_failure():
        cells = [processes.submit(_run_cell_there, place, study.config, study.compute) for place in study.places()]
        try:
            for cell in as_completed(cells):
                cell.result()
        except BrokenProcessPool as error:
            raise AugmentError(
                "a worker process was lost: killed, out of memory (fewer workers need less), or it could not start "
                'because the script has no `if __name__ == "__main__":`; the same call goes on where it was'
            ) from error


def _run_cell_there(place: CellPlace, config: StudyConfig, compute: Compute) -> None:
    run_cell(place, config, compute, run=run_stage)


def context_of(cell: Cell, config: StudyConfig, compute: Compute, *, keep_old_stages: bool = False) -> CellContext:
    """Return a cell of a study of `study_source` with all that its stages may read."""
    return CellContext(
        cell=cell,
        config=config,
        compute=compute,
        given_source=study_source(config.data),
        given_designs=study_designs(config),
        keep_old_stages=keep_old_stages,
    )


def run_cell(place: CellPlace, config: StudyConfig, compute: Compute, *, run: RunStage) -> None:
    """Run all stages of a cell in this process, and summarise it.

    Args:
        config: with "auto" decided (`flows.study.designs.resolve_study`).
        run: runs one stage, such as `run_stage`, or a task that does.
    """
    torch.set_num_threads(config.compute.threads or os.cpu_count() or 1)  # per thread of the process
    with place.opened() as here:
        for stage in stages_of(context_of(here.cell, config, compute, keep_old_stages=place.keep_old_stages)):
            run(stage, here)
        summarise_cell(here.cell, config)
        here.push_summary()


def check_source(source: Source, digest: str) -> None:
    """Make sure that this process reads the data that the study began with.

    Raises:
        UsageError: it reads other data.
    """
    if source.train.digest() != digest:
        raise UsageError(f"a worker on {platform.node()} reads other data than the study began with; give it the same")


def run_stage(stage: Stage, here: OpenCell, on_update: OnUpdate = unheard) -> str | None:
    """Run a stage unless it is finished, telling everybody who watches; return its line, None where it was finished.

    Args:
        on_update: one more who watches.
    """
    name = stage.cell.name
    weight = stage.kind.weight(stage.context.config)

    def state(share: float, detail: str) -> StageUpdate:
        return StageUpdate(cell=name, stage=stage.name, weight=weight, share=share, detail=detail)

    if stage.is_finished():
        here.push_again(stage)
        LOGGER.info("%s %s: finished before", name, stage.name)
        for listener in listeners():
            listener.finished(state(1.0, ""), skipped=True)
        return None

    def tell(share: float, detail: str) -> None:
        on_update(share, detail)
        for listener in listeners():
            listener.update(state(share, detail))

    try:
        line = stage.run(tell)
    except AugmentError:
        here.push_logs(stage)
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        here.push_logs(stage)
        raise AugmentError(
            f"{name} {stage.name}: not enough memory ({message_of(error)}); let fewer cells share it with --workers, "
            "or give smaller batches, gan.batch_size and evaluation.classifier.batch_size"
        ) from error
    here.push_stage(stage)
    LOGGER.info("%s %s: %s", name, stage.name, line)
    for listener in listeners():
        listener.finished(state(1.0, line), skipped=False)
    return line


def summarise_cell(cell: Cell, config: StudyConfig) -> None:
    """Write `cell.json`, which marks the cell as finished: the metrics of each arm, from its stored predictions."""
    seeds = config.evaluation.seeds_of_arms(cell.regime.name)
    files = {arm: [cell.predictions_file(arm, seed) for seed in range(count)] for arm, count in seeds.items()}
    class_counts = read_subset(cell.subset_file).class_counts()
    tail = tail_classes(class_counts)
    facts = CellFacts(
        regime=cell.regime.name,
        replicate=cell.replicate,
        subset=digest_file(cell.subset_file),
        generator=digest_file(generator_file(cell.generator_directory)),
        predictions={
            arm_variant(arm, seed): digest_file(file)
            for arm, of_arm in files.items()
            for seed, file in enumerate(of_arm)
        },
        samples=read_model(cell.samples_directory / EVALUATION_FILE, SampleEvaluation),
        policy=read_model(cell.policy_file, PolicyChoice),
        metrics={arm: mean_metrics([read_predictions(file) for file in of_arm], tail) for arm, of_arm in files.items()},
        tail=tuple(tail.tolist()),
        class_counts=tuple(class_counts.tolist()),
        resolved=resolved_settings(cell, names=stage_weights(config, cell.regime.name)),
        named_code=named_code_of(cell, names=stage_weights(config, cell.regime.name)),
    )
    write_json(cell.summary_file, facts.model_dump(mode="json"))
