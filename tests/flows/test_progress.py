"""Progress: shares add up, skipped work does not count as speed."""

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES

from flows.progress import (
    PROGRESS_RETRIES,
    ServerAwayError,
    StageUpdate,
    StudyClock,
    few_retries,
    stage_weight,
    study_weight,
)
from flows.study.config import preset


def update(stage: str, share: float, weight: float = 10.0) -> StageUpdate:
    return StageUpdate(cell="c", stage=stage, weight=weight, share=share, detail="")


def test_share_counts_finished_and_running_stages() -> None:
    clock = StudyClock(total_weight=40.0)
    clock.finished(update("a", 1.0), skipped=False)
    clock.update(update("b", 0.5))
    assert clock.share == 0.375


def test_finished_stage_is_counted_once() -> None:
    clock = StudyClock(total_weight=20.0)
    clock.update(update("a", 0.9))
    clock.finished(update("a", 1.0), skipped=False)
    assert clock.share == 0.5


def test_no_time_left_is_guessed_from_skipped_stages() -> None:
    clock = StudyClock(total_weight=20.0)
    clock.finished(update("a", 1.0), skipped=True)
    assert clock.remaining() == "? left"


def test_weights_of_all_stages_make_the_study() -> None:
    config = preset("quick")
    arms = sum(stage_weight(f"arm {arm}", config) for arm in config.evaluation.arms)
    cell = arms + stage_weight("generator", config) + stage_weight("samples", config) + 2.0
    assert study_weight(config) == pytest.approx(6 * cell)


def test_requests_that_show_progress_are_retried_once_and_all_else_stays() -> None:
    outside = PREFECT_CLIENT_MAX_RETRIES.value(), PREFECT_API_URL.value()
    with few_retries():
        assert (PREFECT_CLIENT_MAX_RETRIES.value(), PREFECT_API_URL.value()) == (PROGRESS_RETRIES, outside[1])
    assert (PREFECT_CLIENT_MAX_RETRIES.value(), PREFECT_API_URL.value()) == outside


def test_server_that_did_not_answer_is_not_asked_again_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.progress._away_until", 0.0)
    with pytest.raises(httpx.ConnectError), few_retries():
        raise httpx.ConnectError("nobody there")
    with pytest.raises(ServerAwayError), few_retries():
        pytest.fail("asked again")
    monkeypatch.setattr("flows.progress._away_until", 0.0)
    with few_retries():
        pass
