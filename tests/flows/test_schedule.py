"""Unattended runs: held against the last good one, resumed after a crash, and loud when they are worse."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from prefect.client.base import PrefectHttpxSyncClient
from prefect.client.orchestration import get_client
from prefect.concurrency import _leases
from prefect.events import emit_event
from prefect.logging import disable_run_logger

from data.base.errors import AugmentError, CorruptFileError, RegressionError, UsageError
from evaluation.arms import HEADLINE_ARM, HEADLINE_REFERENCE
from evaluation.reporting.comparison import NamedReport
from evaluation.reporting.report import StudyReport, read_report
from evaluation.statistics import spread
from flows.schedule import (
    Judgement,
    augmentation_comparison,
    judge_run,
    last_good_run,
    run_unattended,
    scheduled_study,
    unfinished_run,
)
from flows.serving import ServedStudy, Timetable, deployments
from flows.study.config import RunnerConfig, StudyConfig
from flows.study.reporting import compute_report
from flows.study.retention import JUDGEMENT_FILE
from flows.study.retrying import StoreError, may_pass, patiently
from flows.study.run_directory import load_run_config
from flows.study.running import study_source
from flows.study.store import RunStore, store_of
from tests.waiting import wait_until

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
def runs(undisturbed: Path, tmp_path: Path) -> RunStore:
    """A folder with one finished run, `first`."""
    shutil.copytree(undisturbed, tmp_path / "runs" / "first")
    return RunStore(str(tmp_path / "runs"))


def add_run(runs: RunStore, name: str, report: StudyReport | None, *, created: str) -> Path:
    """Copy the first run under another name and time, with another report or none."""
    directory = Path(runs.location) / name
    shutil.copytree(Path(runs.location) / "first", directory)
    facts = json.loads((directory / "environment.json").read_text())
    (directory / "environment.json").write_text(json.dumps(facts | {"created": created}))
    (directory / "report.json").unlink()
    if report is not None:
        (directory / "report.json").write_text(report.model_dump_json())
    return directory


def with_accuracies(report: StudyReport, change: Callable[[str, float, int], float]) -> StudyReport:
    """Return the report with other accuracies: `change` takes arm, accuracy and replicate."""
    regimes = []
    for regime in report.regimes:
        changed = {
            arm.name: tuple(change(arm.name, value, place) for place, value in enumerate(arm.accuracy.values))
            for arm in regime.arms
        }
        arms = tuple(arm.model_copy(update={"accuracy": spread(changed[arm.name])}) for arm in regime.arms)
        gains = tuple(
            ours - theirs for ours, theirs in zip(changed[HEADLINE_ARM], changed[HEADLINE_REFERENCE], strict=True)
        )
        headline = replace(regime.headline, values=gains, mean=sum(gains) / len(gains))
        regimes.append(regime.model_copy(update={"arms": arms, "headline": headline}))
    return report.model_copy(update={"regimes": tuple(regimes)})


def worse(report: StudyReport, *, points: float) -> StudyReport:
    """Return the report of a study whose headline arm was worse by `points` points, a little differently each time."""
    return with_accuracies(
        report,
        lambda arm, value, place: value - (points / 100 + 1e-6 * place if arm == HEADLINE_ARM else 0),
    )


def collapsed(report: StudyReport) -> StudyReport:
    """Return the report of a study in which every arm lost 83 points, so that the gain stayed as it was."""
    return with_accuracies(report, lambda arm, value, place: value - 0.83 - 1e-4 * place)


def less_faithful(report: StudyReport) -> StudyReport:
    """Return the report of a study whose samples were farther from the real images, a little differently each time."""
    cells = []
    for cell in report.cells:
        assert cell.samples is not None
        overall = cell.samples.fidelity.overall
        kid = overall.synthetic.kid
        kid = kid.model_copy(update={"value": kid.value + 0.5 + 1e-4 * cell.replicate})
        synthetic = overall.synthetic.model_copy(update={"kid": kid})
        pair = overall.model_copy(update={"synthetic": synthetic})
        fidelity = cell.samples.fidelity.model_copy(update={"overall": pair})
        cells.append(cell.model_copy(update={"samples": cell.samples.model_copy(update={"fidelity": fidelity})}))
    return report.model_copy(update={"cells": tuple(cells)})


def named(runs: RunStore, name: str) -> NamedReport:
    return NamedReport(name=name, link="", report=read_report(Path(runs.location) / name / "report.json"))


def judgement(run: Path) -> dict[str, object]:
    found = json.loads((run / JUDGEMENT_FILE).read_text())
    assert isinstance(found, dict)
    return found


def test_first_run_has_nothing_to_be_held_against(runs: RunStore, tiny: StudyConfig, prefect_api: str) -> None:
    assert augmentation_comparison(tiny, runs.location) == f"{runs.location}/first"
    assert judgement(Path(runs.location) / "first") == {"base": None, "regressions": [], "not_compared": []}


def test_comparison_without_a_finished_run_is_refused(tiny: StudyConfig, tmp_path: Path, prefect_api: str) -> None:
    with pytest.raises(UsageError, match="no finished run of this configuration"):
        augmentation_comparison(tiny, tmp_path)


def test_comparison_judges_the_newest_finished_run(runs: RunStore, tiny: StudyConfig, prefect_api: str) -> None:
    good = read_report(Path(runs.location) / "first" / "report.json")
    bad = add_run(runs, "second", worse(good, points=20), created="9997")
    add_run(runs, "third", None, created="9998")
    with pytest.raises(RegressionError, match="second is worse than first"):
        augmentation_comparison(tiny, runs.location)
    assert (bad / "comparison.html").exists()


def test_worse_run_that_was_killed_before_its_judgement_is_no_base(
    runs: RunStore, tiny: StudyConfig, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = read_report(Path(runs.location) / "first" / "report.json")
    bad = add_run(runs, "second", worse(good, points=20), created="9997")
    later = add_run(runs, "third", good, created="9998")
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(later))
    assert scheduled_study(tiny, runs.location) == str(later)
    assert judgement(bad)["base"] == "first"
    assert "second is worse than first" in str(judgement(bad)["regressions"])
    assert judgement(later) == {"base": "first", "regressions": [], "not_compared": []}


def test_run_that_cannot_be_judged_is_no_base_and_stops_nothing(
    runs: RunStore, tiny: StudyConfig, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = read_report(Path(runs.location) / "first" / "report.json")
    foreign = add_run(runs, "second", good, created="9997")
    (foreign / JUDGEMENT_FILE).mkdir()  # as unwritable as somebody else's, for root too
    later = add_run(runs, "third", good, created="9998")
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(later))
    assert scheduled_study(tiny, runs.location) == str(later)
    assert judgement(later)["base"] == "first"


def test_disk_that_fails_for_a_moment_does_not_make_a_finished_run_unfinished(
    runs: RunStore, tiny: StudyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = [OSError(errno.EIO, "Input/output error")]
    read_text = Path.read_text

    def failing_once(path: Path, *arguments: object, **options: object) -> str:
        if path.name == "report.json" and due:
            raise due.pop()
        return read_text(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", failing_once)
    monkeypatch.setattr("flows.study.retrying.RETRY_SECONDS", (0.0, 0.0))
    assert unfinished_run(runs, tiny, study_source(tiny.data)) is None
    assert not due


def test_run_whose_samples_are_less_faithful_fails(
    runs: RunStore, tiny: StudyConfig, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = read_report(Path(runs.location) / "first" / "report.json")
    bad = add_run(runs, "second", less_faithful(good), created="9998")
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(bad))
    with pytest.raises(RegressionError, match=r"second is worse than first in .*negative KID.* changed by -0\.5"):
        scheduled_study(tiny, runs.location)
    assert "negative KID" in str(judgement(bad)["regressions"])


def test_collapse_of_every_arm_fails_though_the_gain_stayed_as_it_was(
    runs: RunStore, tiny: StudyConfig, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = read_report(Path(runs.location) / "first" / "report.json")
    bad = add_run(runs, "second", collapsed(good), created="9998")
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(bad))
    with pytest.raises(RegressionError, match=r"accuracy of real changed by -83\.0"):
        scheduled_study(tiny, runs.location)
    assert "headline gain" not in str(judgement(bad)["regressions"])


def test_run_that_nobody_here_may_read_fails_no_night(
    runs: RunStore, tiny: StudyConfig, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = read_report(Path(runs.location) / "first" / "report.json")
    foreign = add_run(runs, "second", good, created="9997")
    later = add_run(runs, "third", good, created="9998")
    read_text, is_file = Path.read_text, Path.is_file

    def refuse(path: Path) -> None:
        if foreign in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def read(path: Path, *arguments: object, **options: object) -> str:
        refuse(path)
        return read_text(path, *arguments, **options)  # type: ignore[arg-type]

    def found(path: Path) -> bool:
        refuse(path)
        return is_file(path)

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(Path, "is_file", found)
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(later))
    assert scheduled_study(tiny, runs.location) == str(later)
    assert judgement(later)["base"] == "first"


def test_run_of_another_version_of_the_same_format_is_a_base(
    runs: RunStore, tiny: StudyConfig, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(runs.location) / "first" / "environment.json"
    facts = json.loads(file.read_text())
    facts["versions"]["augmentation-gain"] = "0.0.1"
    file.write_text(json.dumps(facts))
    later = add_run(runs, "second", read_report(file.with_name("report.json")), created="9998")
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(later))
    scheduled_study(tiny, runs.location)
    assert judgement(later)["base"] == "first"


def test_run_on_other_data_is_no_base(
    runs: RunStore, tiny: StudyConfig, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = read_report(Path(runs.location) / "first" / "report.json")
    later = add_run(runs, "second", worse(good, points=20), created="9998")
    other = good.model_copy(update={"dataset": good.dataset.model_copy(update={"train_digest": "0" * 64})})
    (Path(runs.location) / "first" / "report.json").write_text(other.model_dump_json())
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(later))
    assert scheduled_study(tiny, runs.location) == str(later)
    found = judgement(later)
    assert (found["base"], found["regressions"]) == (None, [])
    assert "not compared with first, because second has another train split" in str(found["not_compared"])
    assert "not compared with first, because" in (later / "comparison.html").read_text()


def test_regressed_run_fails_and_is_no_base_for_later_ones(
    runs: RunStore, tiny: StudyConfig, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = read_report(Path(runs.location) / "first" / "report.json")
    events = []
    monkeypatch.setattr("flows.schedule.emit_event", lambda event, **facts: events.append((event, facts["payload"])))
    bad = add_run(runs, "second", worse(good, points=20), created="9998")
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(bad))
    with pytest.raises(RegressionError, match="second is worse than first"):
        scheduled_study(tiny, runs.location)
    assert [name for name, _ in events] == ["augmentation.study.finished", "augmentation.study.regressed"]
    assert "second is worse than first" in events[1][1]["regressions"][0]
    assert "second is worse than first" in str(judgement(bad)["regressions"])
    assert (bad / "comparison.html").exists()
    add_run(runs, "third", good, created="9999")
    base = last_good_run(named(runs, "third"), runs, ["first", "second"]).run
    assert base is not None
    assert base.name == "first"


def test_regression_can_be_a_mere_warning(
    runs: RunStore, tiny: StudyConfig, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = read_report(Path(runs.location) / "first" / "report.json")
    bad = add_run(runs, "second", worse(good, points=20), created="9998")
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(bad))
    assert scheduled_study(tiny, runs.location, on_regression="warn") == str(bad)


def test_regression_is_told_though_the_server_takes_no_page_of_it(
    tmp_path: Path, tiny: StudyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*arguments: object, **options: object) -> None:
        raise httpx.ReadTimeout("")

    judged = Judgement(base="first", regressions=("second is worse than first",), not_compared=("with none",))
    monkeypatch.setattr("flows.schedule._report", lambda run: SimpleNamespace(verdict="", sentence=""))
    monkeypatch.setattr("flows.schedule._names", lambda runs, config: [])
    monkeypatch.setattr("flows.schedule._judge", lambda *arguments: judged)
    monkeypatch.setattr("flows.schedule.emit_event", lambda event, **facts: None)
    monkeypatch.setattr("flows.schedule.publish_figures", busy)
    monkeypatch.setattr("flows.schedule.create_markdown_artifact", busy)
    runs = store_of(tmp_path)
    with pytest.raises(RegressionError, match="second is worse than first"):
        judge_run(runs.child("second"), runs, config=tiny, on_regression="fail")


def test_run_whose_lease_is_lost_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's server was away for minutes, or this machine slept for longer than a lease lasts."""

    class Client(nullcontext[object]):
        def __enter__(self) -> "Client":
            return self

        def renew_concurrency_lease(self, **facts: object) -> None:
            raise httpx.ConnectError("refused")

    def lease_threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("concurrency-lease")]

    monkeypatch.setattr(_leases, "get_client", lambda **options: Client())
    monkeypatch.setattr(_leases, "_RENEWAL_RETRY_MAX_DELAY", 0.0)
    monkeypatch.setattr(_leases, "_handle_lease_renewal_failure", _leases._handle_lease_renewal_failure)
    finished = False
    with disable_run_logger():
        run_unattended()
        with _leases.maintain_concurrency_lease(uuid4(), 300, raise_on_lease_renewal_failure=True):
            for thread in lease_threads():
                thread.join()
            time.sleep(0.1)  # in which Prefect would end this
            finished = True
    assert finished


def documented_automation() -> str:
    """Return regression.yaml as docs/operations.md shows it."""
    blocks = re.findall(r"```yaml\n(.*?)```", OPERATIONS.read_text(encoding="utf-8"), flags=re.DOTALL)
    return next(block for block in blocks if block.startswith("# regression.yaml"))


def test_automation_of_the_documents_pauses_the_schedule_after_a_regression(
    runs: RunStore,
    tiny: StudyConfig,
    tmp_path: Path,
    anybody: PrefectHttpxSyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = ServedStudy(config=tiny, runs_directory=runs.location, runner=RunnerConfig(), on_regression="warn")
    timetable = Timetable(cron="0 3 * * *", interval=None, timezone="UTC")
    deployment_id = deployments(job, name="watched", timetable=timetable)[0].apply()
    text, replaced = re.subn(r"<id from .*>", str(deployment_id), documented_automation())
    assert replaced == 1
    (tmp_path / "regression.yaml").write_text(text)
    prefect = [sys.executable, "-m", "prefect", "--no-prompt", "automation"]
    create = [*prefect, "create", "--from-file", str(tmp_path / "regression.yaml")]
    subprocess.run(create, env=os.environ, check=True, capture_output=True)

    good = read_report(Path(runs.location) / "first" / "report.json")
    bad = add_run(runs, "second", worse(good, points=20), created="9998")
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(bad))

    def triggered() -> list[str]:
        by_name = {"event": {"name": ["prefect.automation.triggered"]}}
        events = anybody.post("/events/filter", json={"filter": by_name}).json()["events"]
        names = [event["resource"]["prefect.resource.name"] for event in events]
        return [name for name in names if name == "stop after a regression"]  # others' automations may be on the server

    with get_client(sync_client=True) as client:
        assert not client.read_deployment(deployment_id).paused
        scheduled_study(tiny, runs.location, on_regression="warn")
        wait_until(lambda: client.read_deployment(deployment_id).paused and triggered())
    assert triggered() == ["stop after a regression"]


def test_equal_run_passes(runs: RunStore, tiny: StudyConfig, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    same = add_run(runs, "second", read_report(Path(runs.location) / "first" / "report.json"), created="9998")
    monkeypatch.setattr("flows.schedule.augmentation_study", lambda *arguments, **options: str(same))
    assert scheduled_study(tiny, runs.location) == str(same)
    assert judgement(same) == {"base": "first", "regressions": [], "not_compared": []}


def test_cut_off_run_is_gone_on_with(runs: RunStore, tiny: StudyConfig) -> None:
    source = study_source(tiny.data)
    assert unfinished_run(runs, tiny, source) is None
    cut = add_run(runs, "second", None, created="9998")
    assert unfinished_run(runs, tiny, source) == str(cut)
    assert unfinished_run(runs, tiny.model_copy(update={"seed": 5}), source) is None


@pytest.mark.parametrize("damaged", [False, True])
def test_cut_off_run_whose_data_have_changed_is_left_alone(runs: RunStore, tiny: StudyConfig, *, damaged: bool) -> None:
    cut = add_run(runs, "second", None, created="9998")
    facts = json.loads((cut / "dataset.json").read_text())
    changed = json.dumps(facts | {"name": "older digits", "train_digest": "0" * 64})
    (cut / "dataset.json").write_text("{" if damaged else changed)
    with disable_run_logger():
        assert unfinished_run(runs, tiny, study_source(tiny.data)) is None


def test_events_reach_the_server(anybody: PrefectHttpxSyncClient) -> None:
    resource = {"prefect.resource.id": "augmentation.run.reached"}
    emit_event("augmentation.study.regressed", resource=resource, payload={"base": "earlier"})
    about_it = {"filter": {"resource": {"id": [resource["prefect.resource.id"]]}}}

    def payloads() -> list[object]:
        return [event["payload"] for event in anybody.post("/events/filter", json=about_it).json()["events"]]

    wait_until(payloads)
    assert payloads() == [{"base": "earlier"}]


@pytest.mark.parametrize("name", ["environment.json", "dataset.json", "cells/balanced-10/0/cell.json"])
def test_files_of_another_form_are_one_clear_line(name: str, runs: RunStore, tiny: StudyConfig) -> None:
    directory = Path(runs.location) / "first"
    (directory / name).write_text("[1, 2]")
    with pytest.raises(CorruptFileError, match=Path(name).name):
        compute_report(directory, load_run_config(directory))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(5, "Input/output error"), True),
        (CorruptFileError("truncated"), True),
        (StoreError("timeout"), True),
        (OSError(28, "No space left on device"), False),
        (UsageError("unknown dataset"), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_input_and_output_is_retried(error: Exception, expected: bool) -> None:
    assert may_pass(error) is expected


@pytest.mark.parametrize(("error", "attempts"), [(StoreError("timeout"), 3), (UsageError("no such place"), 1)])
def test_what_is_no_task_is_tried_again_too(error: Exception, attempts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.study.retrying.RETRY_SECONDS", (0.0, 0.0))
    made: list[int] = []

    def work() -> str:
        made.append(len(made))
        if len(made) < 3:
            raise error
        return "done"

    if attempts == 3:
        assert patiently(work) == "done"
    else:
        with pytest.raises(type(error)):
            patiently(work)
    assert len(made) == attempts


def test_cause_of_a_failed_write_decides() -> None:
    error = AugmentError("cannot write x")
    error.__cause__ = OSError(5, "Input/output error")
    assert may_pass(error)
    assert not may_pass(AugmentError("cannot write x"))


def test_all_flows_are_served_one_run_at_a_time(tiny: StudyConfig, tmp_path: Path) -> None:
    job = ServedStudy(config=tiny, runs_directory=str(tmp_path), runner=RunnerConfig(), on_regression="warn")
    served = deployments(job, name="nightly", timetable=Timetable(cron="0 3 * * *", interval=None, timezone="UTC"))
    assert [deployment.flow_name for deployment in served] == [
        "scheduled_study",
        "augmentation_comparison",
        "augmentation_export",
    ]
    assert all(deployment.concurrency_limit == 1 for deployment in served)
    assert served[0].parameters["on_regression"] == "warn"
    assert StudyConfig.model_validate(served[0].parameters["config"]) == tiny
