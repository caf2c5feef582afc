"""Progress in Prefect: it never holds up a study whose server is gone."""

import json
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.objects import Artifact
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES
from rich.console import Console

from flows.commands.progress import console_progress
from flows.progress import PROGRESS_RETRIES, PrefectProgress, RemoteProgress, ServerAwayError, few_retries
from flows.study.config import StudyConfig
from flows.study.watching import StageUpdate, listeners


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


def page_of_a_proxy(*arguments: object, **options: object) -> object:
    return json.loads("<html>please log in</html>")


def page_of_another_service(*arguments: object, **options: object) -> object:
    return Artifact.model_validate({"created": "never"})


@pytest.mark.parametrize("answer", [page_of_a_proxy, page_of_another_service])
def test_answer_that_cannot_be_read_ends_no_study(answer, tiny: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.progress._away_until", 0.0)
    monkeypatch.setattr("flows.progress.create_progress_artifact", answer)
    monkeypatch.setattr("flows.progress.get_client", answer)
    PrefectProgress("stage", description="stage").finish("done")
    monkeypatch.setattr("flows.progress._away_until", 0.0)
    RemoteProgress(tiny, cells=[], flow_run_id=uuid4()).poll()
    monkeypatch.setattr("flows.progress._away_until", 0.0)


def test_what_a_stage_says_is_shown_as_it_is() -> None:
    console = Console(width=120)
    with console.capture() as shown, console_progress(console, total_weight=1.0):
        update = StageUpdate(cell="balanced-8/0", stage="generator", weight=1.0, share=0.5, detail="x[/b] [red]y")
        for listener in listeners():
            listener.update(update)
            listener.finished(update, skipped=False)
    assert "x[/b] [red]y" in shown.get()
