"""The whole study, small, through a real Prefect server; and resuming it."""

import json
import shutil
from pathlib import Path
from uuid import UUID

import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from data.parquet import read_published, read_subset
from data.sources.registry import load_source
from evaluation.predictions import read_predictions
from evaluation.reporting.report import read_report
from flows.augmentation_study import augmentation_study
from flows.study.config import StudyConfig
from flows.study.run_directory import study_cells
from tests.flows.reports import figures
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def ran(prefect_api: str, tiny: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, UUID]:
    """The tiny study, run by Prefect, and the number of its flow run."""
    directory = tmp_path_factory.mktemp("study") / "run"
    state = augmentation_study(tiny, directory, return_state=True)
    assert state.is_completed(), state.message
    return directory, state.state_details.flow_run_id


@pytest.fixture(scope="module")
def finished(ran: tuple[Path, UUID]) -> Path:
    return ran[0]


def test_report_has_every_arm_of_every_regime(finished: Path, tiny: StudyConfig) -> None:
    report = read_report(finished / "report.json")
    assert [regime.name for regime in report.regimes] == ["balanced-10"]
    assert tuple(arm.name for arm in report.regimes[0].arms) == tiny.evaluation.arms
    assert len(report.regimes[0].headline.values) == tiny.replicates
    assert (finished / "report.html").stat().st_size > 10_000


def test_subsets_are_of_the_train_split_and_balanced(finished: Path, tiny: StudyConfig) -> None:
    source = load_source("digits")
    for cell in study_cells(tiny, finished):
        subset = read_subset(cell.subset_file)
        assert set(subset.rows) <= set(source.train.rows)
        assert not set(subset.rows) & set(source.test.rows)
        assert list(subset.class_counts()) == [10] * 10


def test_replicates_draw_different_subsets(finished: Path, tiny: StudyConfig) -> None:
    first, second = (set(read_subset(cell.subset_file).rows) for cell in study_cells(tiny, finished))
    assert first != second


def test_synthetic_set_is_labelled_and_balanced(finished: Path, tiny: StudyConfig) -> None:
    cell = study_cells(tiny, finished)[0]
    synthetic = read_published(cell.synthetic_directory)
    assert list(synthetic.class_counts()) == [tiny.sampling.images_per_class] * 10


def test_predictions_are_on_the_whole_test_set(finished: Path, tiny: StudyConfig) -> None:
    test = load_source("digits").test
    cell = study_cells(tiny, finished)[0]
    for arm in tiny.evaluation.arms:
        predictions = read_predictions(cell.predictions_file(arm))
        assert list(predictions.rows) == list(test.rows)
        assert list(predictions.labels) == list(test.labels)
    frame = pd.read_parquet(cell.predictions_file("real"))
    assert list(frame.columns) == ["row", "label", "predicted", "probabilities"]


def test_figures_follow_from_stored_predictions(finished: Path, tiny: StudyConfig) -> None:
    report = read_report(finished / "report.json")
    for replicate, cell in enumerate(study_cells(tiny, finished)):
        frame = pd.read_parquet(cell.predictions_file("real"))
        assert report.regimes[0].arm("real").accuracy.values[replicate] == pytest.approx(
            (frame.label == frame.predicted).mean()
        )


def test_epochs_are_pictured_with_a_number(finished: Path, tiny: StudyConfig) -> None:
    directory = study_cells(tiny, finished)[0].generator_directory
    history = json.loads((directory / "history.json").read_text())
    assert [record["step"] for record in history] == [7, 12]  # an epoch of 100 images is 7 batches of 16
    for record in history:
        assert (directory / record["grid"]).is_file()
        assert isinstance(record["kernel_distance"], float)


def test_report_is_that_of_the_same_study_without_prefect(finished: Path, expected: dict[str, object]) -> None:
    assert figures(finished) == expected


def test_damaged_stage_is_made_again(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path, prefect_api: str, expected: dict[str, object]
) -> None:
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    cell = study_cells(tiny, run)[0]
    untouched = cell.subset_file.stat().st_mtime_ns
    predictions = cell.predictions_file("real")
    predictions.write_bytes(predictions.read_bytes()[:-1])
    augmentation_study(tiny, run)
    assert figures(run) == expected
    assert cell.subset_file.stat().st_mtime_ns == untouched


def test_prefect_knows_every_stage(ran: tuple[Path, UUID], tiny: StudyConfig) -> None:
    own = FlowRunFilter(id=FlowRunFilterId(any_=[ran[1]]))
    with get_client(sync_client=True) as client:
        stages = {f"{stage} balanced-10/1" for stage in ("subset", "generator", "synthetic", *tiny.evaluation.arms)}
        wait_until(lambda: stages <= {run.name for run in client.read_task_runs(flow_run_filter=own)})
        artifacts = {artifact.key: artifact.type for artifact in client.read_artifacts(flow_run_filter=own)}
    assert artifacts["generator-balanced-10-0"] == "progress"
    kinds = {(str(key).split("-")[0], kind) for key, kind in artifacts.items()}
    assert {("table", "table"), ("verdict", "markdown"), ("report", "markdown"), ("samples", "image")} <= kinds
