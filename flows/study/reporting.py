"""From the files of a run's cells to report.json and report.html; no training, so it can be done again at any time."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from data.base.errors import CorruptFileError
from data.base.files import digest_file, digest_json, read_model, read_record, write_json, write_text
from data.parquet import read_subset
from evaluation.arms import HEADLINE_ARM, HEADLINE_REFERENCE
from evaluation.facts import CellFacts, DatasetFacts
from evaluation.gains import CellAnswers, RegimeAnswers
from evaluation.predictions import read_predictions
from evaluation.reporting.page import CellFiles, write_page
from evaluation.reporting.report import RegimeData, StudyReport, build_report
from evaluation.reporting.run_files import ENVIRONMENT_FILE, REPORT_HTML, REPORT_JSON
from flows.study.config import StudyConfig
from flows.study.designs import Designs
from flows.study.engine import stage_timings
from flows.study.generators.naming import GAN, generator_name
from flows.study.run_directory import LOOKS_FILE, Cell, dataset_facts_file, looks_at, record_look, study_cells
from flows.study.stages.arm import beside_file
from flows.study.stages.outside import GRID_FILE
from flows.study.stages.table import stage_weights
from gan.checkpoint import HISTORY_FILE

DIGESTS_FILE = "report.digests.json"  # of what no other file of the run vouches for


def compute_report(run_directory: Path, config: StudyConfig, *, final: bool = True) -> StudyReport:
    """Compute the report of a run whose cells are all finished, from its stored predictions.

    Args:
        final: whether it ends what was asked for, whatever it shows.

    Raises:
        CorruptFileError: a cell's file is missing or damaged.
    """
    cells = study_cells(config, run_directory)
    dataset = read_model(dataset_facts_file(run_directory), DatasetFacts)
    regimes = {}
    for name, group in groupby(cells, key=lambda cell: cell.regime.name):
        of_regime = list(group)
        design = dataset.designs[name]
        regimes[name] = RegimeData(
            title=of_regime[0].regime.title,
            cells=[read_model(cell.summary_file, CellFacts) for cell in of_regime],
            answers=RegimeAnswers.of([read_answers(cell, config) for cell in of_regime], folds=design.folds),
            beside=RegimeAnswers.of([_read_beside(cell, config) for cell in of_regime], folds=1)
            if design.num_beside
            else None,
        )
    return build_report(
        regimes,
        dataset=dataset,
        config=config.model_dump(mode="json"),
        looks=looks_at(run_directory),
        final=final,
        timings={cell.name: stage_timings(cell, names=stage_weights(config, cell.regime.name)) for cell in cells},
        generator=generator_name(config.generator),
    )


def read_answers(cell: Cell, config: StudyConfig) -> CellAnswers:
    """Read what all classifiers of a cell answered on its test images.

    Raises:
        CorruptFileError: a file is missing or damaged.
    """
    return CellAnswers(
        replicate=cell.replicate,
        subset_rows=read_subset(cell.subset_file).rows,
        arms={
            arm: [read_predictions(cell.predictions_file(arm, seed)) for seed in range(seeds)]
            for arm, seeds in config.evaluation.seeds_of_arms(cell.regime.name).items()
        },
    )


def _read_beside(cell: Cell, config: StudyConfig) -> CellAnswers:
    """Read what the headline pair answered on the test split that the user gave."""
    seeds = config.evaluation.seeds_of_arms(cell.regime.name)
    return CellAnswers(
        replicate=cell.replicate,
        subset_rows=read_subset(cell.subset_file).rows,
        arms={
            arm: [read_predictions(beside_file(cell.predictions_file(arm, seed))) for seed in range(seeds[arm])]
            for arm in (HEADLINE_REFERENCE, HEADLINE_ARM)
        },
    )


def write_reports(
    run_directory: Path, config: StudyConfig, *, designs: Designs | None, final: bool = True
) -> StudyReport:
    """Write `report.json` and `report.html`, and record the look at the study that this is.

    Args:
        designs: of the regimes, for pictures of the images whose answer changed; None where the data are not at hand.
        final: whether this look at the study ends what was asked for, whatever it shows.

    Raises:
        CorruptFileError: a cell's file is missing or damaged.
    """
    report = compute_report(run_directory, config, final=final)
    record_look(run_directory, report.looks)
    write_text(run_directory / REPORT_JSON, report.model_dump_json(indent=2) + "\n")
    environment = read_record(run_directory / ENVIRONMENT_FILE)
    write_page(
        run_directory / REPORT_HTML,
        report,
        environment=environment,
        cell_files=[cell_files(cell, config) for cell in study_cells(config, run_directory)],
        command=environment.get("command") or "augment run config.toml",
        test_images=None if designs is None else {name: design.tested for name, design in designs.items()},
    )
    page = digest_file(run_directory / REPORT_HTML)
    vouch_for(run_directory, {REPORT_HTML: page, ENVIRONMENT_FILE: digest_json(environment)})
    return report


def vouch_for(run_directory: Path, digests: Mapping[str, str]) -> None:
    """Record the digests of files of a run, by name, beside those that are recorded and can be read."""
    file, before = run_directory / DIGESTS_FILE, dict[str, Any]()
    with suppress(CorruptFileError):
        before = read_record(file)
    write_json(file, {**before, **digests})


def report_files(run_directory: Path) -> list[Path]:
    """Return all that `write_reports` left in a run, the digests last."""
    return [run_directory / name for name in (LOOKS_FILE, REPORT_JSON, REPORT_HTML, DIGESTS_FILE)]


def cell_files(cell: Cell, config: StudyConfig) -> CellFiles:
    """Name the files of a cell that its page shows."""
    return CellFiles(
        regime=cell.regime.name,
        replicate=cell.replicate,
        history=cell.generator_directory / HISTORY_FILE if config.generator == GAN else None,
        grids=cell.generator_directory,
        predictions={arm: cell.predictions_file(arm) for arm in config.evaluation.seeds_of_arms(cell.regime.name)},
        pictures=cell.samples_directory,
        picture=GRID_FILE,
    )
