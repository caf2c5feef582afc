"""Metrics for Prometheus: what the last run of each deployment found and took, and whether the server answers."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from data.base.errors import AugmentError
from evaluation.reporting.report import read_report
from flows.metrics import ServedMetrics, served_metrics
from flows.schedule import scheduled_study
from flows.serving import ServedStudy, Timetable, deployments
from flows.study.config import RunnerConfig, StudyConfig
from tests.waiting import PATIENT

NAME = "scheduled_study/measured"
AWAY = "http://127.0.0.1:9/api"


@pytest.fixture
def runs(undisturbed: Path, tmp_path: Path) -> Path:
    shutil.copytree(undisturbed, tmp_path / "runs" / "first")
    return tmp_path / "runs"


@pytest.fixture
def deployment(prefect_api: str, tiny: StudyConfig, runs: Path) -> Iterator[UUID]:
    job = ServedStudy(config=tiny, runs_directory=str(runs), runner=RunnerConfig(), on_regression="warn")
    study, *_ = deployments(job, name="measured", timetable=Timetable(cron=None, interval=None, timezone="UTC"))
    found = study.apply()
    assert isinstance(found, UUID)
    yield found
    with get_client(sync_client=True) as client:
        client.delete_deployment(found)


def values(text: str) -> dict[tuple[str, ...], float]:
    """Return the values by name and labels, the deployment left out."""
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name != "deployment")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scheduled_run(deployment: UUID) -> None:
    """Run the deployment in this process."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(deployment)
    run_flow(scheduled_study, flow_run=run, parameters=run.parameters)


def test_last_run_is_told_with_gain_interval_verdict_and_duration(
    deployment: UUID, prefect_api: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(runs / "first"))
    with served_metrics([NAME, "scheduled_study/absent"], api_url=prefect_api, host="127.0.0.1", port=0) as url:
        before = values(PATIENT.get(url).text)
        scheduled_run(deployment)
        told = values(PATIENT.get(url).raise_for_status().text)
    assert before == {("augment_server_up",): 1.0}
    (regime,) = read_report(runs / "first" / "report.json").regimes
    gain = regime.headline
    assert told["augment_gain", regime.name] == gain.mean
    assert (told["augment_gain_low", regime.name], told["augment_gain_high", regime.name]) == (gain.low, gain.high)
    said = {labels[2]: value for labels, value in told.items() if labels[0] == "augment_verdict"}
    assert [verdict for verdict, value in said.items() if value == 1] == [gain.verdict]
    assert len(said) > 3
    assert told["augment_regressions",] == 0
    assert told["augment_run_succeeded",] == 1
    assert told["augment_run_duration_seconds",] > 0
    assert told["augment_run_end_time_seconds",] > 1.7e9


def test_failed_run_is_told_and_the_figures_of_the_last_finished_study_stay(
    deployment: UUID, prefect_api: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **options: object) -> str:
        raise AugmentError("no disk")

    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(runs / "first"))
    scheduled_run(deployment)
    monkeypatch.setattr("flows.schedule.augmentation_study", fails)
    with pytest.raises(AugmentError, match="no disk"):
        scheduled_run(deployment)
    registry = CollectorRegistry()
    registry.register(ServedMetrics([NAME], api_url=prefect_api))
    told = values(generate_latest(registry).decode())
    assert told["augment_run_succeeded",] == 0
    assert any(labels[0] == "augment_gain" for labels in told)


@pytest.mark.slow
def test_server_that_is_away_is_told() -> None:
    registry = CollectorRegistry()
    registry.register(ServedMetrics([NAME], api_url=AWAY))
    assert values(generate_latest(registry).decode()) == {("augment_server_up",): 0.0}


def test_none_are_served_unless_asked_and_a_taken_port_is_named() -> None:
    with served_metrics([], api_url=AWAY, host="127.0.0.1", port=None) as url:
        assert url == ""
    with served_metrics([], api_url=AWAY, host="127.0.0.1", port=0) as url:
        taken = urlsplit(url).port
        refused = pytest.raises(AugmentError, match="choose another --metrics port")
        with refused, served_metrics([], api_url=AWAY, host="127.0.0.1", port=taken):
            pass
