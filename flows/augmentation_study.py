"""The study as a Prefect flow: it reads like the picture of the way of the data in the README.

Tasks are thin: each runs one stage of one cell, takes paths and configuration, and leaves files. A stage that is
finished is skipped, so running the flow again on the same directory goes on where it stopped.
"""

import os
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

import torch
from prefect import Task, flow, get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

from data.base.device import Compute
from data.base.errors import UsageError
from data.config import DataConfig
from data.regimes import check_regime
from data.sources.registry import Source, load_source
from evaluation.arms import HEADLINE_ARM, check_arms
from evaluation.config import ArmName
from evaluation.reporting.film import file_uri
from evaluation.reporting.report import StudyReport
from flows.progress import (
    SERVER_ERRORS,
    OutcomeListener,
    PrefectProgress,
    PrefectStudyListener,
    RemoteProgress,
    StageOutcome,
    StageUpdate,
    artifact_key,
    listeners,
    listening,
    stage_weight,
    study_weight,
)
from flows.runners import run_tasks
from flows.study.cells import CellPlace, OpenCell
from flows.study.config import RunnerConfig, StudyConfig
from flows.study.reporting import REPORT_HTML, write_reports
from flows.study.retrying import RETRIES, RETRY_SECONDS, patiently, worth_retrying
from flows.study.run_directory import (
    DEFAULT_RUNS_DIRECTORY,
    RUN_FILES,
    Cell,
    new_run_location,
    open_run,
    record_source,
    study_cells,
)
from flows.study.stages import (
    Stage,
    arm_stage,
    generator_stage,
    samples_stage,
    subset_stage,
    summarise_cell,
    synthetic_stage,
)
from flows.study.store import RunStore, store_of
from flows.tag_limits import remember_tag_limits, unlimited_tags

SEQUENTIAL = RunnerConfig()
P = ParamSpec("P")
R = TypeVar("R")


def stage_task(name: str, *, tag: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function the task of a stage: never cached by Prefect, tried again after failures that may pass."""
    return task(
        task_run_name=name,
        tags=[tag],
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=list(RETRY_SECONDS),
        retry_condition_fn=worth_retrying,
    )


@flow(name="augmentation_study", validate_parameters=True, persist_result=False)
def augmentation_study(
    config: StudyConfig,
    run_directory: Path | str | None = None,
    runs_directory: Path | str = DEFAULT_RUNS_DIRECTORY,
    runner: RunnerConfig = SEQUENTIAL,
) -> Path | str:
    """Measure the gain of GAN augmentation in every regime; return the place that holds the report.

    Args:
        config: the whole study; see `augment run --help` for the presets.
        run_directory: path or fsspec URL where to work, or to go on; a new one in `runs_directory` where none is given.
        runner: where the cells run; no result depends on it.
    """
    remember_tag_limits(unlimited_tags())
    location = run_directory or new_run_location(runs_directory, config)
    store = store_of(location)
    source = study_source(config.data)
    cells = study_cells(config, Path())
    for cell in cells:
        check_regime(source.train, cell.regime)  # before anything is written
    check_arms(
        config.evaluation,
        regimes=[cell.regime.wanted(source.train) for cell in cells],
        images_per_class=config.sampling.images_per_class,
    )
    with store.owned(), store.workspace() as directory:
        patiently(lambda: store.pull(directory, RUN_FILES))
        with (
            open_run(directory, config) as compute,
            listening(PrefectStudyListener(store.name, total_weight=study_weight(config))),
        ):
            record_source(directory, source)
            patiently(lambda: store.push(directory, [directory / name for name in RUN_FILES]))
            if source.warning:
                get_run_logger().warning(source.warning)
            run_cells(store, config, compute, runner)
            patiently(lambda: store.pull_folder(directory, "cells"))
            report = write_report(directory, config)
            patiently(lambda: store.push(directory, sorted(directory.glob("report.*"))))
            publish(report, store, study_cells(config, directory)[0])
    return location


def run_cells(store: RunStore, config: StudyConfig, compute: Compute, runner: RunnerConfig) -> None:
    """Run all cells where `runner` says; what is finished is skipped."""
    cells = study_cells(config, Path())
    common: dict[str, Any] = {
        "config": config,
        "compute": compute,
        "source": study_source(config.data).train.digest(),
        "unlimited": unlimited_tags(),
    }
    calls = [{"cell": CellPlace(store, cell.regime, cell.replicate), **common} for cell in cells]
    if runner.kind == "sequential":
        for call in calls:
            run_cell(**call)
        return
    remote = RemoteProgress(config, cells=[cell.name for cell in cells], flow_run_id=_flow_run_id())
    watched = runner.kind != "threads"  # threads reach the listeners of this process themselves
    run_tasks(
        run_cell,
        calls,
        runner=runner,
        workers=min(len(calls), runner.num_workers(config.compute)),
        on_result=remote.finished if watched else lambda _: None,
        on_wait=remote.poll if watched else lambda: None,
    )


def _flow_run_id() -> UUID:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise UsageError("cells run inside the flow augmentation_study; call that")
    return context.flow_run.id


@cache
def study_source(config: DataConfig) -> Source:
    """Return the study's images, read once per process."""
    return load_source(config)


@task(task_run_name="cell {cell.name}", tags=["cell"], cache_policy=NO_CACHE, persist_result=False)
def run_cell(
    cell: CellPlace, config: StudyConfig, compute: Compute, source: str, unlimited: Sequence[str]
) -> list[StageOutcome]:
    """Run all stages of a cell, in whichever process this is, and return how they ended.

    Args:
        source: digest of the train split that the study began with.
        unlimited: tags that Prefect need not ask about (see `flows.tag_limits`).
    """
    remember_tag_limits(unlimited)
    if study_source(config.data).train.digest() != source:
        raise UsageError(f"a worker on {platform.node()} reads other data than the study began with; give it the same")
    torch.set_num_threads(config.compute.threads or os.cpu_count() or 1)  # per thread of the process
    listener = OutcomeListener()
    with cell.opened() as here, listening(listener):
        draw_subset(here, config)
        train_generator(here, config, compute)
        draw_samples(here, config, compute)
        judge_samples(here, config, compute)
        for arm in config.evaluation.arms:
            train_classifier(here, arm, config, compute)
        summarise_cell(here.cell, config)
        here.push_summary()
    return listener.outcomes


@stage_task("subset {here.cell.name}", tag="subset")
def draw_subset(here: OpenCell, config: StudyConfig) -> None:
    """Draw all that the cell's GAN and classifiers may see of the train split."""
    run_stage(subset_stage(here.cell, config, source=study_source(config.data)), here, config)


@stage_task("generator {here.cell.name}", tag="generator")
def train_generator(here: OpenCell, config: StudyConfig, compute: Compute) -> None:
    """Train the cell's GAN on its subset alone."""
    source = study_source(config.data)
    run_stage(generator_stage(here.cell, config, source=source, compute=compute), here, config)


@stage_task("synthetic {here.cell.name}", tag="synthetic")
def draw_samples(here: OpenCell, config: StudyConfig, compute: Compute) -> None:
    """Draw the cell's labelled synthetic data set."""
    num_classes = study_source(config.data).train.num_classes
    run_stage(synthetic_stage(here.cell, config, num_classes=num_classes, compute=compute), here, config)


@stage_task("samples {here.cell.name}", tag="samples")
def judge_samples(here: OpenCell, config: StudyConfig, compute: Compute) -> None:
    """Measure fidelity and memorisation of the synthetic images, and make the audit's checks."""
    source = study_source(config.data)
    run_stage(samples_stage(here.cell, config, source=source, compute=compute), here, config)


@stage_task("{arm} {here.cell.name}", tag="arm")
def train_classifier(here: OpenCell, arm: ArmName, config: StudyConfig, compute: Compute) -> None:
    """Train one arm's classifier and store its predictions on the test set."""
    source = study_source(config.data)
    run_stage(arm_stage(here.cell, arm, config, source=source, compute=compute), here, config)


@task(task_run_name="report", tags=["report"], cache_policy=NO_CACHE, persist_result=False)
def write_report(run_directory: Path, config: StudyConfig) -> StudyReport:
    """Compute report.json and report.html from the cells' files."""
    return write_reports(run_directory, config, test=study_source(config.data).test)


def run_stage(stage: Stage, here: OpenCell, config: StudyConfig) -> None:
    """Run a stage unless it is finished, telling everybody who watches how far it is."""
    name, weight = stage.cell.name, stage_weight(stage.name, config)

    def state(share: float, detail: str) -> StageUpdate:
        return StageUpdate(cell=name, stage=stage.name, weight=weight, share=share, detail=detail)

    if stage.is_finished():
        here.push_again(stage)
        get_run_logger().info("%s %s: finished before", name, stage.name)
        for listener in listeners():
            listener.finished(state(1.0, ""), skipped=True)
        return
    artifact = PrefectProgress(f"{stage.name} {name}", description=f"{stage.name} {name}")

    def on_update(share: float, detail: str) -> None:
        artifact.update(share, detail)
        for listener in listeners():
            listener.update(state(share, detail))

    line = stage.run(on_update)
    here.push_stage(stage)
    artifact.finish(line)
    get_run_logger().info("%s %s: %s", name, stage.name, line)
    for listener in listeners():
        listener.finished(state(1.0, line), skipped=False)


def publish(report: StudyReport, store: RunStore, first_cell: Cell) -> None:
    """Show the study's table, verdict, samples and report in Prefect's UI, where its server can be reached."""
    key = artifact_key(store.name)
    rows = [
        {
            "regime": regime.title,
            "arm": arm.name,
            "accuracy": f"{arm.accuracy.mean:.2%}",
            "gain": f"{100 * arm.accuracy_gain.mean:+.2f} points over {arm.reference}" if arm.accuracy_gain else "",
            "verdict": arm.accuracy_gain.verdict if arm.accuracy_gain else "",
        }
        for regime in report.regimes
        for arm in regime.arms
    ]
    with suppress(*SERVER_ERRORS):
        create_table_artifact(rows, key=f"table-{key}", description=f"Gains; the headline is {HEADLINE_ARM}")
        place = store.child(REPORT_HTML).location
        create_markdown_artifact(
            f"# {report.verdict}\n\n{report.sentence}\n\nReport: `{place}`\n", key=f"verdict-{key}"
        )
        create_link_artifact(store.link(REPORT_HTML), key=f"report-{key}", link_text=place)
        grids = sorted((first_cell.generator_directory / "epochs").glob("*.png"))
        if grids:
            create_image_artifact(
                file_uri(grids[-1]),  # a browser shows no file:// or s3:// picture in the user interface's page
                key=f"samples-{key}",
                description=f"{first_cell.name}: real, generated",
            )
