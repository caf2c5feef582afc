"""Arms for rare classes, the whole way through a study of a long-tailed regime."""

from pathlib import Path

import pytest

from data.base.device import Compute
from data.base.errors import UsageError
from data.config import DataConfig
from data.images import identities
from data.parquet import read_published, read_subset
from data.sources.registry import load_source
from evaluation.arms import ARMS as ALL_ARMS
from evaluation.arms import balancing_arms, default_arms, evened_out
from evaluation.predictions import read_predictions
from evaluation.reporting.report import StudyReport, read_report
from flows.augmentation_study import augmentation_study
from flows.study.config import StudyConfig
from flows.study.designs import resolve_study
from flows.study.run_directory import Cell, study_cells
from flows.study.running import context_of
from flows.study.verification import verify
from gan.config import SamplingConfig

ARMS = (*default_arms(), *balancing_arms(), "synthetic+classical")

CPU = Compute(device="cpu", precision="float32")


def asking(tiny: StudyConfig, *regimes: int | str) -> StudyConfig:
    evaluation = tiny.evaluation.model_copy(update={"arms": tuple(arm for arm in ALL_ARMS if arm in ARMS)})
    data = DataConfig(dataset="digits", images_per_class=regimes, long_tail_order="label", folds=2)
    return tiny.model_copy(update={"data": data, "evaluation": evaluation})


@pytest.fixture(scope="module")
def config(tiny: StudyConfig) -> StudyConfig:
    return asking(tiny, "long-tailed:20:10", 4).model_copy(update={"replicates": 1})


@pytest.fixture(scope="module")
def finished(config: StudyConfig, prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("rare") / "run"
    augmentation_study(config, directory)
    return directory


@pytest.fixture(scope="module")
def report(finished: Path) -> StudyReport:
    return read_report(finished / "report.json")


@pytest.fixture(scope="module")
def cell(config: StudyConfig, finished: Path) -> Cell:
    return study_cells(config, finished)[0]


def test_every_arm_is_reported_against_its_reference(report: StudyReport) -> None:
    assert {arm.name for arm in report.regimes[0].arms} == set(ARMS)
    evened = report.regimes[0].arm("evened-out")
    assert evened is not None
    assert evened.reference == "oversampled"
    assert evened.macro_f1_gain is not None
    assert len(evened.macro_f1_gain.values) == report.regimes[0].num_replicates == 2  # each fold once


def test_tail_recall_is_reported_where_classes_are_rare(report: StudyReport) -> None:
    tailed, balanced = report.regimes
    assert (tailed.tail, balanced.tail) == ((7, 8, 9), ())
    assert all(arm.tail_recall is not None for arm in tailed.arms)
    assert all(arm.tail_recall is None and arm.tail_recall_gain is None for arm in balanced.arms)


def test_page_explains_the_arms_and_the_tail(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert "fill every class up to the largest one" in page
    assert page.count("rarest third of the classes, here 7, 8, 9.") == 1
    assert page.count('<th scope="col" class="number">Tail recall</th>') == 1


def test_arms_of_a_cell_have_random_streams_of_their_own(cell: Cell) -> None:
    predictions = [read_predictions(cell.predictions_file(arm)).probabilities for arm in ("oversampled", "evened-out")]
    assert not (predictions[0] == predictions[1]).all()


def test_evened_out_training_holds_no_test_image(config: StudyConfig, cell: Cell) -> None:
    subset, synthetic = read_subset(cell.subset_file), read_published(cell.synthetic_directory)
    evened = evened_out(subset, synthetic, share=config.evaluation.evened_out_share)
    assert list(evened.class_counts()) == [20] * 10
    tested = context_of(cell, resolve_study(config, load_source("digits")), CPU).split.test
    assert not set(identities(evened)) & set(identities(tested))


def test_run_verifies(finished: Path) -> None:
    broken = [link for link in verify(finished) if link.holds is not True]
    assert not broken


def test_balanced_study_is_refused_before_anything_is_written(
    tiny: StudyConfig, prefect_api: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"would be real\+classical once more"):
        augmentation_study(asking(tiny, 4), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_few_synthetic_images_are_told_before_anything_is_written(
    tiny: StudyConfig, prefect_api: str, tmp_path: Path
) -> None:
    config = asking(tiny, "long-tailed:20:10").model_copy(update={"sampling": SamplingConfig(images_per_class=5)})
    with pytest.raises(UsageError, match="needs 18 synthetic images of a class, and there are 5"):
        augmentation_study(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
