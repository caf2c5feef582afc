"""The study as a Prefect flow: it reads like the picture of the way of the data in the README.

Tasks are thin: each runs one stage of one cell (`flows.study.stages.table.STAGES`), takes paths and configuration, and
leaves files. A finished stage is skipped, so running the flow again on the same directory continues where it stopped.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Task, flow, get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext

from data.base.device import Compute
from data.base.errors import UsageError, message_of
from data.base.plugins import Allowance, accept, allowance
from evaluation.arms import HEADLINE_ARM
from evaluation.reporting.film import file_uri
from evaluation.reporting.report import StudyReport
from evaluation.reporting.run_files import REPORT_HTML
from flows.pages import page_link
from flows.progress import (
    NO_ANSWER,
    SERVER_ERRORS,
    PrefectProgress,
    PrefectStudyListener,
    RemoteProgress,
    ServerAwayError,
    artifact_key,
)
from flows.runners import run_tasks
from flows.study.cells import CellPlace, OpenCell
from flows.study.config import RunnerConfig, StudyConfig
from flows.study.designs import study_source, study_warning
from flows.study.engine import Stage, StageKind
from flows.study.growing import Until, run_until_decided
from flows.study.job import unheard
from flows.study.retrying import RETRIES, RETRY_SECONDS, may_pass
from flows.study.run_directory import DEFAULT_RUNS_DIRECTORY, Cell, new_run_location, study_cells
from flows.study.running import OpenStudy, check_source, context_of, opened_study, run_cell, run_stage
from flows.study.stages.outside import GRID_FILE
from flows.study.stages.table import STAGES, stage_of, study_weight
from flows.study.store import RunStore, store_of
from flows.study.watching import OutcomeListener, StageOutcome, listeners, listening
from flows.tag_limits import remember_tag_limits, unlimited_tags

SEQUENTIAL = RunnerConfig(kind="sequential")


def worth_retrying(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001 (Prefect's signature)
    """Tell Prefect whether to run a failed stage again."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and may_pass(error)


@flow(name="augmentation_study", validate_parameters=True, persist_result=False)
def augmentation_study(
    config: StudyConfig,
    run_directory: Path | str | None = None,
    runs_directory: Path | str = DEFAULT_RUNS_DIRECTORY,
    runner: RunnerConfig = SEQUENTIAL,
    until: Until | None = None,
    keep_old_stages: bool = False,
) -> Path | str:
    """Measure the gain of GAN augmentation in every regime; return the place that holds the report.

    Args:
        config: the whole study; see `augment run --help` for the presets.
        run_directory: path or fsspec URL where to work or to continue; None: a new one in `runs_directory`.
        runner: where the cells run; no result depends on it.
        until: add replicates until every regime is decided, but no more than this; None: as many as configured.
        keep_old_stages: whether stages that other code made count as finished; otherwise they are made again.
    """
    remember_tag_limits(unlimited_tags())
    location = run_directory or new_run_location(runs_directory, config)
    with opened_study(store_of(location), config, keep_old_stages=keep_old_stages) as study:
        if warning := study_warning(study.source, study.designs, generator=study.config.generator):
            get_run_logger().warning(warning)
        differences = study.differences()
        if differences:
            get_run_logger().warning(differences)
            for listener in listeners():
                listener.noted(differences)
        with listening(PrefectStudyListener(study.store.name, total_weight=study_weight(study.config))):
            if until is None:
                run_cells(study, runner)
                report = write_report(study)
            else:
                report = run_until_decided(study, until, lambda grown: run_cells(grown, runner))
            publish(report, study.store, study_cells(study.config, study.directory)[0])
    return location


def run_cells(study: OpenStudy, runner: RunnerConfig) -> None:
    """Run all cells where `runner` says; what is finished is skipped."""
    places = study.places()
    common: dict[str, Any] = {
        "config": study.config,
        "compute": study.compute,
        "source": study.source.train.digest(),
        "unlimited": unlimited_tags(),
        "allowed": allowance(),
    }
    calls = [{"place": place, **common} for place in places]
    runner = runner.here()
    if runner.kind == "sequential":
        for call in calls:
            run_cell_task(**call)
        return
    remote = RemoteProgress(study.config, cells=[place.name for place in places], flow_run_id=_flow_run_id())
    watched = runner.kind != "threads"  # threads reach the listeners of this process themselves
    run_tasks(
        run_cell_task,
        calls,
        runner=runner,
        workers=min(len(calls), runner.num_workers(study.config.compute)),
        on_result=remote.finished if watched else lambda _: None,
        on_wait=remote.poll if watched else lambda: None,
    )


def _flow_run_id() -> UUID:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise UsageError("cells run inside the flow augmentation_study; call that")
    return context.flow_run.id


@task(name="run_cell", task_run_name="cell {place.name}", tags=["cell"], cache_policy=NO_CACHE, persist_result=False)
def run_cell_task(
    place: CellPlace,
    config: StudyConfig,
    compute: Compute,
    source: str,
    unlimited: Sequence[str],
    allowed: Allowance,
) -> list[StageOutcome]:
    """Run all stages of a cell, in whichever process this is, and return how they ended.

    Args:
        source: digest of the train split that the study began with.
        unlimited: tags that Prefect need not ask about (see `flows.tag_limits`).
        allowed: code of the user's own that may be loaded.

    Raises:
        ServerAwayError: Prefect's server could not be asked for a place among limited tasks, or told that it is free.
    """
    accept(allowed)
    remember_tag_limits(unlimited)
    check_source(study_source(config.data), source)
    listener = OutcomeListener()
    try:
        with listening(listener):
            run_cell(place, config, compute, run=run_stage_in_task)
    except SERVER_ERRORS as error:
        raise ServerAwayError(message_of(error)) from error
    return listener.outcomes


def run_stage_in_task(stage: Stage, here: OpenCell) -> None:
    """Run a stage as a task run that has the stage's name and tag."""
    context = stage.context
    name = f"{stage.variant or stage.name} {stage.cell.name}"
    STAGE_TASKS[stage.kind.module].with_options(task_run_name=name)(
        here, stage.variant, context.config, context.compute
    )


def _stage_task(kind: StageKind[Any]) -> Task[[OpenCell, str, StudyConfig, Compute], None]:
    """Make the task of a kind of stage: never cached by Prefect, tried again after failures that may pass."""

    @task(
        name=kind.name,
        tags=[kind.name],
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=list(RETRY_SECONDS),
        retry_condition_fn=worth_retrying,
    )
    def stage_task(here: OpenCell, variant: str, config: StudyConfig, compute: Compute) -> None:
        context = context_of(here.cell, config, compute, keep_old_stages=here.keep_old_stages)
        stage = stage_of(context, kind, variant)
        name = f"{stage.name} {stage.cell.name}"
        artifact = None if stage.is_finished() else PrefectProgress(name, description=name)
        line = run_stage(stage, here, artifact.update if artifact else unheard)
        if artifact and line is not None:
            artifact.finish(line)
        get_run_logger().info("%s %s: %s", stage.cell.name, stage.name, line or "finished before")

    return stage_task


STAGE_TASKS = {kind.module: _stage_task(kind) for kind in STAGES}


@task(task_run_name="report", tags=["report"], cache_policy=NO_CACHE, persist_result=False)
def write_report(study: OpenStudy) -> StudyReport:
    """Compute report.json and report.html from the cells' files."""
    return study.report()


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
    with suppress(*NO_ANSWER):
        create_table_artifact(rows, key=f"table-{key}", description=f"Gains; the headline is {HEADLINE_ARM}")
        place = store.child(REPORT_HTML).location
        create_markdown_artifact(
            f"# {report.verdict}\n\n{report.sentence}\n\nReport: `{place}`\n", key=f"verdict-{key}"
        )
        create_link_artifact(page_link(store, REPORT_HTML), key=f"report-{key}", link_text=place)
        folder = first_cell.generator_directory
        grids = sorted([*folder.glob("epochs/*.png"), *folder.glob(GRID_FILE)])
        if grids:
            create_image_artifact(
                file_uri(grids[-1]),  # a browser shows no file:// or s3:// picture in the user interface's page
                key=f"samples-{key}",
                description=f"{first_cell.name}: real, generated",
            )
