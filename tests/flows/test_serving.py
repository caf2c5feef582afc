"""Deployments keep what people set, schedules keep their hour, and other people's are not replaced in silence."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentScheduleUpdate, DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from data.base.errors import AugmentError, UsageError
from flows.serving import (
    PatientRunner,
    ServedStudy,
    Timetable,
    _ended,
    _notice_deletion,
    _register_and_run,
    checked_timetable,
    deployments,
    keep_what_people_set,
    machine_timezone,
    next_runs,
    next_runs_line,
)
from flows.study.config import RunnerConfig, StudyConfig
from tests.waiting import with_own

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTLY = Timetable(cron="0 3 * * *", interval=None, timezone="Europe/Berlin")


def job(config: StudyConfig, runs: str = "/runs") -> ServedStudy:
    return ServedStudy(config=config, runs_directory=runs, runner=RunnerConfig(), on_regression="fail")


def served_again(
    config: StudyConfig, name: str, timetable: Timetable = NIGHTLY, *, runs: str = "/runs", replace: bool = False
) -> tuple[RunnerDeployment, list[str]]:
    """Serve the study's deployment as `augment serve` does when it starts."""
    study, *_ = deployments(job(config, runs), name=name, timetable=timetable)
    notes = keep_what_people_set([study], replace=replace)
    study.apply()
    return study, notes


def on_server(name: str) -> DeploymentResponse:
    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name(f"scheduled_study/{name}")


def change(name: str, update: DeploymentUpdate) -> None:
    with get_client(sync_client=True) as client:
        client.update_deployment(on_server(name).id, update)


@pytest.mark.parametrize("changed", [datetime(2026, 3, 29, tzinfo=BERLIN), datetime(2026, 10, 25, tzinfo=BERLIN)])
def test_nightly_run_keeps_its_hour_over_both_changes_of_time(changed: datetime) -> None:
    schedules = [DeploymentScheduleCreate(schedule=each) for each in NIGHTLY.schedules()]
    due = next_runs(schedules, start=changed - timedelta(days=2), count=5)
    local = [each.astimezone(BERLIN) for each in due]
    assert [(each.hour, each.minute) for each in local] == [(3, 0)] * 5
    assert len({each.date() for each in local}) == 5
    assert len({each.astimezone(UTC).hour for each in due}) == 2


def test_next_runs_are_told_in_the_schedules_time_zone(tiny: StudyConfig) -> None:
    study, *_ = deployments(job(tiny), name="told", timetable=NIGHTLY)
    study.schedules = [DeploymentScheduleCreate(schedule=each) for each in NIGHTLY.schedules()]
    line = next_runs_line(study)
    assert line.count(" 03:00:00 CE") == 3


def test_time_zone_is_the_machines_own_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tzlocal.unix._cache_tz_name", None)  # what an earlier test made it remember
    monkeypatch.setenv("TZ", "America/New_York")
    assert machine_timezone() == "America/New_York"
    assert checked_timetable(cron="0 3 * * *", interval=None, timezone=None).timezone == "America/New_York"


def test_machine_without_a_time_zone_counts_as_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tzlocal.get_localzone_name", lambda: None)
    assert machine_timezone() == "UTC"


@pytest.mark.parametrize("name", ["posix/America/New_York", "right/America/New_York", "Nowhere/Else"])
def test_machines_zone_is_one_that_prefect_knows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tzlocal.get_localzone_name", lambda: name)
    zone = checked_timetable(cron="0 3 * * *", interval=None, timezone=None).timezone
    assert zone == ("UTC" if name == "Nowhere/Else" else "America/New_York")


def test_server_that_fails_is_asked_again_with_growing_pauses_and_a_line_each(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a locked database does (503), and a server that is away."""
    told: list[str] = []
    answer = httpx.Response(503, request=httpx.Request("POST", prefect_api))
    failures: list[Exception] = [
        httpx.HTTPStatusError("database is locked", request=answer.request, response=answer),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout(""),
    ]
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def poll(task_group: object = None) -> None:
        if failures:
            raise failures.pop(0)

    async def ask() -> None:
        asked = PatientRunner(tell=told.append, handle_signals=lambda: None)._patiently(poll)
        for _ in range(5):
            await asked()

    monkeypatch.setattr("flows.serving.asyncio", with_own(asyncio, sleep=sleep))
    asyncio.run(ask())
    assert pauses == [2, 4, 8]
    assert [line.partition(";")[0] for line in told] == [
        "the Prefect server does not answer (database is locked)",
        "the Prefect server does not answer (refused)",
        "the Prefect server does not answer (ReadTimeout)",
        "the Prefect server answers again",
    ]


class Registering:
    """A runner whose server answers as told before it takes a deployment; Prefect itself makes errors of that."""

    def __init__(self, *answers: httpx.Response | httpx.HTTPError) -> None:
        self._answers, self.added, self.started = list(answers), list[str](), False

    def answer(self, request: httpx.Request) -> httpx.Response:
        match request.method, request.url.path:
            case "POST", "/api/flows/":
                return httpx.Response(201, json={"id": str(uuid4())})
            case "POST", "/api/deployments/":
                answer = self._answers.pop(0) if self._answers else httpx.Response(201, json={"id": str(uuid4())})
                if isinstance(answer, httpx.HTTPError):
                    raise answer
                return answer
            case _:
                return httpx.Response(404)

    async def aadd_deployment(self, deployment: RunnerDeployment) -> UUID:
        found = await deployment.aapply()
        self.added.append(deployment.full_name)
        return found

    async def start(self) -> None:
        self.started = True


def register(runner: Registering, study: StudyConfig, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def client() -> PrefectClient:
        return PrefectClient("http://here/api", httpx_settings={"transport": httpx.MockTransport(runner.answer)})

    monkeypatch.setattr("flows.serving.FIRST_PAUSE", 0.0)
    monkeypatch.setattr("prefect.deployments.runner.get_client", client)
    served = deployments(job(study), name="begun", timetable=NIGHTLY)[:2]
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        asyncio.run(_register_and_run(cast(Runner, runner), served, told.append))


@pytest.mark.slow
def test_server_that_fails_when_serving_begins_is_asked_again(
    tiny: StudyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    runner = Registering(
        httpx.Response(503, json={"exception_message": "Service Unavailable"}),
        httpx.Response(502, html="<h1>of a proxy before the server</h1>"),
        httpx.Response(429, json={"detail": "too many requests"}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout(""),
    )
    register(runner, tiny, told, monkeypatch)
    assert runner.started
    assert runner.added == ["scheduled_study/begun", "augmentation_comparison/begun"]
    for line, reason in zip(told, ["'503 ", "'502 ", "'429 ", "(refused)", "(ReadTimeout)"], strict=True):
        assert reason in line


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(422, json={"detail": "no such schedule"}),
        httpx.Response(409, json={"detail": "it is there already"}),
        httpx.Response(403, html="<h1>of a proxy before the server</h1>"),
    ],
)
def test_server_that_refuses_a_deployment_ends_serving_with_a_line(
    answer: httpx.Response, tiny: StudyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, told = Registering(answer), list[str]()
    with pytest.raises(Exception) as refused:  # noqa: PT011 (whatever Prefect makes of it)
        register(runner, tiny, told, monkeypatch)
    assert not runner.started
    assert not told
    ended = _ended(refused.value)
    assert isinstance(ended, AugmentError)
    assert f"'{answer.status_code} " in str(ended)
    assert "\n" not in str(ended)


def test_runner_that_does_not_start_ends_serving_with_a_line() -> None:
    ended = _ended(RuntimeError("Runner failed to start: event_emitter — not allowed"))
    assert isinstance(ended, AugmentError)
    assert str(ended) == (
        "Prefect's runner ended (Runner failed to start: event_emitter — not allowed); start augment serve again"
    )


def test_line_of_our_own_about_an_answer_stays_as_it_is() -> None:
    ours = AugmentError("the server has no deployment any more")
    ours.__cause__ = httpx.ReadTimeout("")
    assert _ended(ours) is ours


def test_deployment_that_somebody_deletes_ends_serving_with_a_line(
    tiny: StudyConfig, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    async def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            async with get_client() as client:
                await client.delete_deployment(deployment.id)

    served_again(tiny, "deleted")
    deployment = on_server("deleted")
    monkeypatch.setattr("flows.serving.asyncio", with_own(asyncio, sleep=look))
    with pytest.raises(AugmentError, match="no deployment scheduled_study/deleted any more; start augment serve again"):
        asyncio.run(_notice_deletion({deployment.id: "scheduled_study/deleted"}))
    assert len(looks) == 2


def test_restart_keeps_pause_and_time_zone(tiny: StudyConfig, prefect_api: str) -> None:
    served_again(tiny, "kept")
    zone = DeploymentScheduleUpdate(schedule=CronSchedule(cron="0 3 * * *", timezone="Asia/Tokyo"), active=True)
    change("kept", DeploymentUpdate(schedules=[zone]))
    change("kept", DeploymentUpdate(paused=True))
    _, notes = served_again(tiny, "kept")
    found = on_server("kept")
    assert found.paused
    assert [each.schedule.timezone for each in found.schedules] == ["Asia/Tokyo"]  # type: ignore[union-attr]
    assert f"prefect api POST /deployments/{found.id}/resume_deployment" in "".join(notes)
    assert "keeps the schedule" in "".join(notes)


def test_restart_keeps_the_pause_of_a_single_schedule(tiny: StudyConfig, prefect_api: str) -> None:
    served_again(tiny, "inactive")
    (schedule,) = on_server("inactive").schedules
    with get_client(sync_client=True) as client:
        client.update_deployment_schedule(on_server("inactive").id, schedule.id, active=False)
    study, _ = served_again(tiny, "inactive")
    assert [each.active for each in on_server("inactive").schedules] == [False]
    assert next_runs_line(study) == ""


def test_restart_does_not_begin_an_interval_anew(tiny: StudyConfig, prefect_api: str) -> None:
    daily = Timetable(cron=None, interval=86_400, timezone="UTC")
    served_again(tiny, "daily", daily)
    (before,) = [each.schedule.anchor_date for each in on_server("daily").schedules]  # type: ignore[union-attr]
    served_again(tiny, "daily", daily)
    (after,) = [each.schedule.anchor_date for each in on_server("daily").schedules]  # type: ignore[union-attr]
    assert before == after


@pytest.mark.parametrize("other", ["configuration", "runs directory", "schedule"])
def test_deployment_of_another_command_is_replaced_only_when_asked(
    other: str, tiny: StudyConfig, prefect_api: str
) -> None:
    name = f"taken-{other.split()[0]}"
    served_again(tiny, name)
    config = tiny.model_copy(update={"seed": 7}) if other == "configuration" else tiny
    runs = "/elsewhere" if other == "runs directory" else "/runs"
    timetable = Timetable(cron="0 4 * * *", interval=None, timezone="UTC") if other == "schedule" else NIGHTLY
    with pytest.raises(UsageError, match="choose another --name, or replace it with --replace"):
        served_again(config, name, timetable, runs=runs)
    served_again(config, name, timetable, runs=runs, replace=True)
    assert on_server(name).parameters["runs_directory"] == runs
    assert on_server(name).parameters["config"]["seed"] == config.seed


def test_deployment_from_another_machine_is_not_replaced(tiny: StudyConfig, prefect_api: str) -> None:
    for machine, refused in (("one", False), ("one", False), ("other", True)):
        study, *_ = deployments(job(tiny), name="shared", timetable=NIGHTLY, machine=machine)
        if refused:
            with pytest.raises(UsageError, match="from another machine"):
                keep_what_people_set([study], replace=False)
        else:
            keep_what_people_set([study], replace=False)
            study.apply()


def test_configuration_without_a_key_that_is_new_counts_as_the_same(tiny: StudyConfig, prefect_api: str) -> None:
    served_again(tiny, "upgraded")
    found = on_server("upgraded")
    older = {key: value for key, value in found.parameters["config"].items() if key != "seed"}
    version = f"{(found.version or '').split('-')[0]}-00000000"
    change("upgraded", DeploymentUpdate(parameters=found.parameters | {"config": older}, version=version))
    served_again(tiny, "upgraded")
    assert on_server("upgraded").parameters["config"]["seed"] == tiny.seed


def test_schedule_of_prefect_yaml_names_its_time_zone() -> None:
    content = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text(encoding="utf-8"))
    (schedule,) = content["deployments"][0]["schedules"]
    assert CronSchedule(**schedule).timezone
