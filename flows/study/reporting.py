"""From the files of a run's cells to report.json and report.html; no training, so it can be done again at any time."""

from pathlib import Path

from data.base.files import read_model, read_record, write_text
from data.images import LabelledImages
from evaluation.facts import CellFacts, DatasetFacts
from evaluation.reporting.page import CellFiles, write_page
from evaluation.reporting.report import StudyReport, build_report
from flows.study.config import StudyConfig
from flows.study.engine import stage_timings
from flows.study.run_directory import ENVIRONMENT_FILE, Cell, dataset_facts_file, study_cells
from flows.study.stages.table import stage_weights

REPORT_JSON = "report.json"
REPORT_HTML = "report.html"


def compute_report(run_directory: Path, config: StudyConfig) -> StudyReport:
    """Compute the report of a run whose cells are all finished, from its stored predictions.

    Raises:
        CorruptFileError: a cell's file is missing or damaged.
    """
    cells = study_cells(config, run_directory)
    return build_report(
        [read_model(cell.summary_file, CellFacts) for cell in cells],
        regime_titles={cell.regime.name: cell.regime.title for cell in cells},
        dataset=read_model(dataset_facts_file(run_directory), DatasetFacts),
        config=config.model_dump(mode="json"),
        timings={cell.name: stage_timings(cell, names=stage_weights(config)) for cell in cells},
    )


def write_reports(run_directory: Path, config: StudyConfig, *, test: LabelledImages | None) -> StudyReport:
    """Write `report.json` and `report.html`.

    Args:
        test: the test split, for pictures of images whose answer changed; None where it is not at hand.

    Raises:
        CorruptFileError: a cell's file is missing or damaged.
    """
    report = compute_report(run_directory, config)
    write_text(run_directory / REPORT_JSON, report.model_dump_json(indent=2) + "\n")
    environment = read_record(run_directory / ENVIRONMENT_FILE)
    write_page(
        run_directory / REPORT_HTML,
        report,
        environment=environment,
        cell_files=[cell_files(cell, config) for cell in study_cells(config, run_directory)],
        command=environment.get("command") or "augment run config.toml",
        test_images=test,
    )
    return report


def cell_files(cell: Cell, config: StudyConfig) -> CellFiles:
    """Name the files of a cell that its page shows."""
    return CellFiles(
        regime=cell.regime.name,
        replicate=cell.replicate,
        history=cell.generator_directory / "history.json",
        grids=cell.generator_directory,
        predictions={arm: cell.predictions_file(arm) for arm in config.evaluation.arms},
        pictures=cell.samples_directory,
    )
