"""Prefect's database forgets old flow runs of this project, whole, and nothing else."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import pytest
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.base import PrefectHttpxSyncClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.logging.handlers import APILogWorker

from flows.commands.prune import prune
from flows.database import forget, old_flow_runs
from tests.waiting import PATIENCE_SECONDS

LATER = datetime.now(UTC) + timedelta(days=100)


@task(persist_result=False)
def stage() -> None:
    create_markdown_artifact("made", key="of-a-stage")


@flow(name="pruned inside", persist_result=False)
def inside() -> None:
    get_run_logger().info("a line of the log")
    stage()


@flow(name="pruned", persist_result=False)
def outside() -> UUID:
    inside()
    return own_id()


@flow(name="of other people", persist_result=False)
def foreign() -> UUID:
    return own_id()


def own_id() -> UUID:
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    return context.flow_run.id


@pytest.fixture
def runs(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Three runs, oldest first, of a flow that has another one inside, and then one of somebody else's."""
    monkeypatch.setattr("flows.database.FLOWS", ("pruned",))
    found = [outside(), outside(), outside(), foreign()]
    APILogWorker.drain_all(timeout=PATIENCE_SECONDS)
    return found


def rows(anybody: PrefectHttpxSyncClient, run: UUID) -> dict[str, int]:
    """Count what the server holds of a flow run and of the runs inside it."""
    inner = anybody.post("/flow_runs/filter", json={"flow_runs": {"parent_flow_run_id": {"any_": [str(run)]}}}).json()
    ids = [str(run), *(each["id"] for each in inner)]
    of_runs = {"flow_run_id": {"any_": ids}}
    found = {
        "flow_runs": {"flow_runs": {"id": {"any_": ids}}},
        "task_runs": {"task_runs": of_runs},
        "artifacts": {"artifacts": of_runs},
        "logs": {"logs": of_runs},
    }
    return {kind: len(anybody.post(f"/{kind}/filter", json=query).json()) for kind, query in found.items()}


def test_old_runs_go_whole_when_asked_and_the_newest_and_other_peoples_stay(
    runs: list[UUID],
    anybody: PrefectHttpxSyncClient,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz=None):  # type: ignore[no-untyped-def, override]
            return LATER

    before = rows(anybody, runs[0])
    assert all(before.values()), before
    prune(str(tmp_path), keep=2, older_than="90d", database=True)
    assert "0 flow runs in Prefect's database would go" in capsys.readouterr().out
    monkeypatch.setattr("flows.commands.prune.datetime", Later)
    prune(str(tmp_path), keep=2, older_than="90d", database=True)
    assert "2 flow runs in Prefect's database would go" in capsys.readouterr().out
    assert rows(anybody, runs[0]) == before
    prune(str(tmp_path), keep=2, older_than="90d", database=True, delete=True)
    assert "2 flow runs in Prefect's database removed" in capsys.readouterr().out
    assert rows(anybody, runs[0]) == dict.fromkeys(before, 0)
    assert rows(anybody, runs[1]) == before
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(runs[3])


def test_runs_that_have_not_ended_stay(runs: list[UUID], prefect_api: str) -> None:
    with get_client(sync_client=True) as client:
        waiting = client.create_flow_run(outside)
    going = {run.id for run in old_flow_runs(keep=0, older_than=timedelta(days=90), now=LATER)}
    assert waiting.id not in going
    assert set(runs[:3]) <= going


def test_what_somebody_else_removes_meanwhile_does_not_end_pruning(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[UUID] = []

    def gone(number: UUID) -> None:
        asked.append(number)
        raise ObjectNotFound(http_exc=Exception("404"))

    artifacts = [[SimpleNamespace(id=uuid4())], []]
    client = SimpleNamespace(
        read_artifacts=lambda **options: artifacts.pop(0),
        read_logs=lambda *arguments, **options: [],
        delete_artifact=gone,
        delete_flow_run=gone,
    )
    monkeypatch.setattr("flows.database.get_client", lambda **options: nullcontext(client))
    forget([cast(FlowRun, SimpleNamespace(id=uuid4()))])
    assert len(asked) == 2
