"""From the files of a run's cells to report.json and report.html; no training, so it can be done again at any time."""

from pathlib import Path

from data.files import read_json, write_text
from data.images import LabelledImages
from evaluation.report import CellFacts, DatasetFacts, StudyReport, build_report
from flows.config import StudyConfig
from flows.run_directory import dataset_facts_file, study_cells
from flows.stages import stage_seconds

REPORT_JSON = "report.json"
REPORT_HTML = "report.html"


def write_reports(run_directory: Path, config: StudyConfig, *, test: LabelledImages) -> StudyReport:
    """Write both reports of a run whose cells are all finished.

    Raises:
        CorruptFileError: a cell's file is missing or damaged.
    """
    cells = study_cells(config, run_directory)
    report = build_report(
        [CellFacts.model_validate(read_json(cell.summary_file)) for cell in cells],
        regime_titles={cell.regime.name: cell.regime.title for cell in cells},
        dataset=DatasetFacts.model_validate(read_json(dataset_facts_file(run_directory))),
        config=config.model_dump(mode="json"),
        timings={cell.name: stage_seconds(cell) for cell in cells},
    )
    write_text(run_directory / REPORT_JSON, report.model_dump_json(indent=2) + "\n")
    return report
