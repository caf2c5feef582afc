"""Progress in Prefect: it never holds up a study whose server is gone."""

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES

from flows.progress import PROGRESS_RETRIES, ServerAwayError, few_retries


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
