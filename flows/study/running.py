"""A study without Prefect: opened, its cells run stage by stage, and reported. `flows.augmentation_study` is this, in
Prefect's tasks."""

import logging
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from data.base.device import Compute
from data.base.errors import UsageError
from data.base.files import digest_file, read_model, write_json
from data.config import DataConfig
from data.parquet import read_subset
from data.regimes import check_regime
from data.sources.registry import load_source
from data.sources.source import Source
from evaluation.arms import HEADLINE_ARM, HEADLINE_REFERENCE, check_arms
from evaluation.facts import CellFacts
from evaluation.metrics import measured, tail_classes
from evaluation.predictions import read_predictions
from evaluation.reporting.report import StudyReport
from evaluation.samples import SampleEvaluation
from evaluation.statistics import mcnemar
from flows.study.cells import CellPlace, OpenCell
from flows.study.config import StudyConfig
from flows.study.engine import CellContext, Stage
from flows.study.job import OnUpdate, unheard
from flows.study.reporting import write_reports
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
from flows.study.stages.samples import EVALUATION_FILE
from flows.study.stages.table import stages_of
from flows.study.store import RunStore, store_of
from flows.study.watching import StageUpdate, listeners
from gan.export import GENERATOR_FILE

LOGGER = logging.getLogger(__name__)
RunStage = Callable[[Stage, OpenCell], object]


@dataclass(frozen=True, kw_only=True)
class OpenStudy:
    """A study that this process owns: where it works, and what all its cells share."""

    store: RunStore
    directory: Path
    config: StudyConfig
    compute: Compute
    source: Source

    def places(self) -> list[CellPlace]:
        """Return all cells, in order."""
        return [CellPlace(self.store, cell.regime, cell.replicate) for cell in study_cells(self.config, Path())]

    def report(self) -> StudyReport:
        """Write the report of the finished cells, and let the run hold it."""
        patiently(lambda: self.store.pull_folder(self.directory, "cells"))
        report = write_reports(self.directory, self.config, test=self.source.test)
        patiently(lambda: self.store.push(self.directory, sorted(self.directory.glob("report.*"))))
        return report


@cache
def study_source(config: DataConfig) -> Source:
    """Return the study's images, read once per process."""
    return load_source(config)


@contextmanager
def opened_study(store: RunStore, config: StudyConfig) -> Iterator[OpenStudy]:
    """Own a run while the block runs: a new one, or one that goes on.

    Raises:
        UsageError: the data cannot fill a regime, or the run began with other data or another configuration.
        AugmentError: another process works in it, or its place cannot be written.
    """
    source = study_source(config.data)
    check_study(config, source)
    with store.owned(), store.workspace() as directory:
        patiently(lambda: store.pull(directory, RUN_FILES))
        with open_run(directory, config) as compute:
            record_source(directory, source)
            patiently(lambda: store.push(directory, [directory / name for name in RUN_FILES]))
            yield OpenStudy(store=store, directory=directory, config=config, compute=compute, source=source)


def check_study(config: StudyConfig, source: Source) -> None:
    """Make sure that the data can make the study, before anything is written.

    Raises:
        UsageError: a class has fewer images than a regime asks for, or an arm has nothing to do.
    """
    regimes = {cell.regime.name: cell.regime for cell in study_cells(config, Path())}
    for regime in regimes.values():
        check_regime(source.train, regime)
    check_arms(
        config.evaluation,
        regimes=[regime.wanted(source.train) for regime in regimes.values()],
        images_per_class=config.sampling.images_per_class,
    )


def run_study(config: StudyConfig, location: str | Path | None = None) -> str | Path:
    """Run a whole study in this process, one cell after the other, without Prefect; return where it lies.

    Args:
        location: path or fsspec URL where to work, or to go on; a new one below `runs/` where none is given.
    """
    location = location or new_run_location(DEFAULT_RUNS_DIRECTORY, config)
    with opened_study(store_of(location), config) as study:
        for place in study.places():
            run_cell(place, config, study.compute, source=study.source, run=run_stage)
        study.report()
    return location


def run_cell(place: CellPlace, config: StudyConfig, compute: Compute, *, source: Source, run: RunStage) -> None:
    """Run all stages of a cell in this process, and summarise it.

    Args:
        run: runs one stage, such as `run_stage`, or a task that does.
    """
    torch.set_num_threads(config.compute.threads or os.cpu_count() or 1)  # per thread of the process
    with place.opened() as here:
        for stage in stages_of(CellContext(cell=here.cell, config=config, given_source=source, compute=compute)):
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

    line = stage.run(tell)
    here.push_stage(stage)
    LOGGER.info("%s %s: %s", name, stage.name, line)
    for listener in listeners():
        listener.finished(state(1.0, line), skipped=False)
    return line


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
