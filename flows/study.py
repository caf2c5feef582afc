"""The study as a Prefect flow: it reads like the picture of the way of the data in the README.

Tasks are thin: each runs one stage of one cell, takes paths and configuration, and leaves files. A stage that is
finished is skipped, so running the flow again on the same directory goes on where it stopped.
"""

from functools import cache
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.cache_policies import NO_CACHE

from data.config import DataConfig
from data.device import Compute
from data.regimes import check_regime
from data.sources import Source, load_source
from evaluation.arms import HEADLINE_ARM
from evaluation.config import ArmName
from evaluation.report import StudyReport
from flows.config import StudyConfig
from flows.progress import (
    PrefectProgress,
    PrefectStudyListener,
    StageUpdate,
    listeners,
    listening,
    stage_weight,
    study_weight,
)
from flows.reporting import write_reports
from flows.run_directory import (
    DEFAULT_RUNS_DIRECTORY,
    Cell,
    new_run_directory,
    open_run,
    record_source,
    study_cells,
)
from flows.stages import (
    Stage,
    arm_stage,
    generator_stage,
    samples_stage,
    subset_stage,
    summarise_cell,
    synthetic_stage,
)


@flow(name="augmentation_study", validate_parameters=True, persist_result=False)
def augmentation_study(
    config: StudyConfig, run_directory: Path | None = None, runs_directory: Path = DEFAULT_RUNS_DIRECTORY
) -> Path:
    """Measure the gain of GAN augmentation in every regime; return the directory that holds the report.

    Args:
        config: the whole study; see `augment run --help` for the presets.
        run_directory: where to work, or to go on; a new one below `runs_directory` where none is given.
    """
    run_directory = run_directory or new_run_directory(runs_directory, config)
    source = study_source(config.data)
    cells = study_cells(config, run_directory)
    for cell in cells:
        check_regime(source.train, cell.regime)  # before anything is written
    with (
        open_run(run_directory, config) as compute,
        listening(PrefectStudyListener(run_directory.name, total_weight=study_weight(config))),
    ):
        record_source(run_directory, source)
        if source.warning:
            get_run_logger().warning(source.warning)
        for cell in cells:
            draw_subset(cell, config)
            train_generator(cell, config, compute)
            draw_samples(cell, config, compute)
            judge_samples(cell, config, compute)
            for arm in config.evaluation.arms:
                train_classifier(cell, arm, config, compute)
            summarise_cell(cell, config)
        report = write_report(run_directory, config)
        publish(report, run_directory, cells[0])
    return run_directory


@cache
def study_source(config: DataConfig) -> Source:
    """Return the study's images, read once per process."""
    return load_source(config)


@task(task_run_name="subset {cell.name}", tags=["subset"], cache_policy=NO_CACHE, persist_result=False)
def draw_subset(cell: Cell, config: StudyConfig) -> None:
    """Draw all that the cell's GAN and classifiers may see of the train split."""
    run_stage(subset_stage(cell, config, source=study_source(config.data)), config)


@task(task_run_name="generator {cell.name}", tags=["generator"], cache_policy=NO_CACHE, persist_result=False)
def train_generator(cell: Cell, config: StudyConfig, compute: Compute) -> None:
    """Train the cell's GAN on its subset alone."""
    run_stage(generator_stage(cell, config, source=study_source(config.data), compute=compute), config)


@task(task_run_name="synthetic {cell.name}", tags=["synthetic"], cache_policy=NO_CACHE, persist_result=False)
def draw_samples(cell: Cell, config: StudyConfig, compute: Compute) -> None:
    """Draw the cell's labelled synthetic data set."""
    num_classes = study_source(config.data).train.num_classes
    run_stage(synthetic_stage(cell, config, num_classes=num_classes, compute=compute), config)


@task(task_run_name="samples {cell.name}", tags=["samples"], cache_policy=NO_CACHE, persist_result=False)
def judge_samples(cell: Cell, config: StudyConfig, compute: Compute) -> None:
    """Measure fidelity and memorisation of the synthetic images, and make the audit's checks."""
    run_stage(samples_stage(cell, config, source=study_source(config.data), compute=compute), config)


@task(task_run_name="{arm} {cell.name}", tags=["arm"], cache_policy=NO_CACHE, persist_result=False)
def train_classifier(cell: Cell, arm: ArmName, config: StudyConfig, compute: Compute) -> None:
    """Train one arm's classifier and store its predictions on the test set."""
    run_stage(arm_stage(cell, arm, config, source=study_source(config.data), compute=compute), config)


@task(task_run_name="report", tags=["report"], cache_policy=NO_CACHE, persist_result=False)
def write_report(run_directory: Path, config: StudyConfig) -> StudyReport:
    """Compute report.json and report.html from the cells' files."""
    return write_reports(run_directory, config, test=study_source(config.data).test)


def run_stage(stage: Stage, config: StudyConfig) -> None:
    """Run a stage unless it is finished, telling everybody who watches how far it is."""
    name, weight = stage.cell.name, stage_weight(stage.name, config)

    def state(share: float, detail: str) -> StageUpdate:
        return StageUpdate(cell=name, stage=stage.name, weight=weight, share=share, detail=detail)

    if stage.is_finished():
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
    get_run_logger().info("%s %s: %s", name, stage.name, line)
    for listener in listeners():
        listener.finished(state(1.0, line), skipped=False)


def publish(report: StudyReport, run_directory: Path, first_cell: Cell) -> None:
    """Show the study's table, verdict, samples and report in Prefect's UI."""
    key = run_directory.name.lower().replace("_", "-").replace(".", "-")
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
    create_table_artifact(rows, key=f"table-{key}", description=f"Gains; the headline is {HEADLINE_ARM}")
    create_markdown_artifact(f"# {report.verdict}\n\n{report.sentence}\n", key=f"verdict-{key}")
    page = (run_directory / "report.html").resolve().as_uri()
    create_link_artifact(page, key=f"report-{key}", link_text="report.html")
    grids = sorted((first_cell.generator_directory / "epochs").glob("*.png"))
    if grids:
        create_image_artifact(
            grids[-1].resolve().as_uri(), key=f"samples-{key}", description=f"{first_cell.name}: real, generated"
        )
