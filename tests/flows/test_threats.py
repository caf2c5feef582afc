"""Each point of docs/operations/threats.md, tried."""

import base64
import configparser
import json
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from prefect.blocks.webhook import Webhook
from prefect.client.base import PrefectHttpxSyncClient
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    temporary_settings,
)
from rich.console import Console

from data.base.errors import AugmentError, CorruptFileError, UsageError
from flows.commands import serve
from flows.metrics import served_metrics
from flows.pages import served_pages
from flows.server import running_server
from flows.serving import ServedStudy, Timetable, deployments
from flows.study.config import RunnerConfig, StudyConfig
from flows.study.run_directory import load_run_config, study_cells
from flows.study.store import RunStore, redact
from flows.study.verification import verify
from tests.waiting import PATIENT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations" / "threats.md").read_text(encoding="utf-8")
POINTS = [" ".join(point.split()) for point in re.findall(r"^- \*\*(.+?)\*\*", PAGE, re.MULTILINE | re.DOTALL)]
TRIED: set[str] = set()
EVIL = "https://evil.example"


def point(beginning: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark the test of the point that begins so."""
    (found,) = (each for each in POINTS if each.startswith(beginning))
    TRIED.add(found)
    return lambda test: test


def test_every_point_of_the_page_is_tried() -> None:
    assert sorted(TRIED) == sorted(POINTS)


# --- Prefect's server ---


@point("Who reaches the server's port rules it")
def test_server_takes_runs_and_gives_secrets_without_a_password(
    anybody: PrefectHttpxSyncClient, tiny: StudyConfig
) -> None:
    job = ServedStudy(config=tiny, runs_directory="/mine", runner=RunnerConfig(), on_regression="fail")
    study, *_ = deployments(job, name="open", timetable=Timetable(cron=None, interval=None, timezone="UTC"))
    deployment = study.apply()
    Webhook(url="https://here/secret-word").save("open", overwrite=True)
    run = anybody.post(
        f"/deployments/{deployment}/create_flow_run",
        json={"parameters": {"runs_directory": "/theirs"}, "state": {"type": "PAUSED"}},
    )
    assert run.json()["parameters"]["runs_directory"] == "/theirs"
    block = anybody.get("/block_types/slug/webhook/block_documents/name/open", params={"include_secrets": True})
    assert block.json()["data"]["url"] == "https://here/secret-word"
    anybody.delete(f"/deployments/{deployment}")


@point("It listens on this machine alone")
def test_server_listens_on_loopback_or_warns(prefect_api: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    port = urlsplit(prefect_api).port
    listening = {
        one.laddr.ip
        for one in psutil.net_connections("inet")  # of whichever test process runs the server
        if one.status == "LISTEN" and one.laddr.port == port
    }
    assert listening == {"127.0.0.1"}

    @contextmanager
    def none(*arguments: object, **options: object) -> Iterator[None]:
        raise AugmentError("not started here")
        yield

    monkeypatch.setattr(serve, "running_server", none)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    for host, warned in (("0.0.0.0", True), ("127.0.0.1", False)):
        console = Console(record=True, width=200)
        with (
            temporary_settings(restore_defaults={PREFECT_API_URL}),
            pytest.raises(AugmentError, match="not started"),
            serve._server_for("name", host=host, port=0, console=console),
        ):
            pass
        assert ("asks for no password" in console.export_text()) is warned


@pytest.mark.slow
@point("It has a password where you give it one")
def test_server_with_a_password_answers_nobody_without_it(prefect_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = "augment:right-word"
    monkeypatch.setenv("PREFECT_HOME", str(prefect_home))
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", word)
    with running_server(host="127.0.0.1", port=0) as server:
        asked = f"{server.url}/flows/filter"
        wrong = {"Authorization": "Basic " + base64.b64encode(b"augment:wrong-word").decode()}
        assert PATIENT.post(asked, json={}).status_code == httpx.codes.UNAUTHORIZED
        assert PATIENT.post(asked, json={}, headers=wrong).status_code == httpx.codes.UNAUTHORIZED
        with (
            temporary_settings({PREFECT_API_URL: server.url, PREFECT_API_AUTH_STRING: word}),
            get_client(sync_client=True) as client,
        ):
            assert client.read_flows() == []


@point("Pages of other sites cannot use it")
def test_server_allows_no_other_origin(prefect_api: str) -> None:
    asked = {"Origin": EVIL, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = PATIENT.options(f"{prefect_api}/flow_runs/filter", headers=asked)
    simple = PATIENT.post(f"{prefect_api}/flow_runs/filter", headers={"Origin": EVIL})
    for answer in (preflight, simple):
        assert "access-control-allow-origin" not in answer.headers
    bare = PATIENT.post(f"{prefect_api}/flows/", content='{"name": "theirs"}', headers={"Content-Type": "text/plain"})
    assert bare.status_code == httpx.codes.UNPROCESSABLE_ENTITY  # what a page may send without asking is not read


# --- the pages of the runs, and the metrics ---


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    (run / "config.toml").write_text("seed = 0\n")
    (run / "subset.parquet").write_bytes(b"images")
    (run / "report.html").write_text("<script>fetch('http://127.0.0.1:4200/api/flows/filter')</script>")
    (tmp_path / "outside.json").write_text('"outside"')
    (run / "link.json").symlink_to(tmp_path / "outside.json")
    (run / ".hidden.json").write_text('"hidden"')
    return tmp_path / "runs"


@pytest.fixture
def pages(runs: Path) -> Iterator[str]:
    with served_pages(RunStore(str(runs)), host="127.0.0.1", port=0) as url:
        yield url


@point("Who reaches the pages' port reads all runs")
def test_pages_are_read_without_a_password_on_this_machine(pages: str) -> None:
    assert PATIENT.get(f"{pages}/first/subset.parquet").content == b"images"
    port = urlsplit(pages).port
    assert port is not None
    assert {
        one.laddr.ip
        for one in psutil.Process().net_connections("inet")
        if one.status == "LISTEN" and one.laddr.port == port
    } == {"127.0.0.1"}


@point("The pages write nothing and show runs only")
def test_pages_write_nothing_and_show_nothing_else(pages: str, runs: Path) -> None:
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        assert PATIENT.request(method, f"{pages}/first/config.toml").status_code == 501
    for path in ("/first/link.json", "/first/.hidden.json", "/..%2foutside.json", "/first/%2e%2e/%2e%2e/outside.json"):
        assert PATIENT.get(pages + path).status_code == 404
    assert PATIENT.get(pages, headers={"Host": "evil.example"}).status_code == 403
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


@point("A page that somebody put into a run reaches nothing")
def test_policy_of_the_pages_lets_them_load_and_ask_nothing(pages: str) -> None:
    policy = PATIENT.get(f"{pages}/first/report.html").headers["content-security-policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    assert rules["form-action"] == rules["base-uri"] == rules["frame-ancestors"] == ["'none'"]
    assert rules.keys() == {
        "default-src", "style-src", "img-src", "script-src", "base-uri", "form-action", "frame-ancestors"
    }  # fmt: skip
    allowed = {source for name in ("style-src", "img-src", "script-src") for source in rules[name]}
    assert allowed == {"'unsafe-inline'", "data:", "'self'"}  # of no other host


@point("The metrics hold names and figures")
def test_metrics_hold_no_path_and_no_configuration(prefect_api: str, tiny: StudyConfig) -> None:
    job = ServedStudy(config=tiny, runs_directory="/secret/place", runner=RunnerConfig(), on_regression="fail")
    study, *_ = deployments(job, name="shown", timetable=Timetable(cron=None, interval=None, timezone="UTC"))
    study.apply()
    with served_metrics(["scheduled_study/shown"], api_url=prefect_api, host="127.0.0.1", port=0) as url:
        text = PATIENT.get(url).text
    assert "augment_server_up 1" in text
    assert "secret" not in text
    assert "digits" not in text


# --- the runs directory ---


@pytest.fixture
def copy(undisturbed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(undisturbed, tmp_path / "copy"))


@point("Who may write there may change results")
def test_changed_results_are_found_unless_the_digests_are_changed_too(copy: Path, tiny: StudyConfig) -> None:
    file = study_cells(tiny, copy)[0].predictions_file("real")
    file.write_bytes(file.read_bytes() + b" ")
    assert [link.name for link in verify(copy) if link.holds is False]


@point("No file of a run becomes code")
def test_planted_pickle_makes_nothing(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "victim"),)

    for name in ("config.toml", "environment.json"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CorruptFileError):
        load_run_config(tmp_path)
    assert not (tmp_path / "victim").exists()


@point("No file of a run leads out of it")
def test_record_that_leads_out_is_refused(copy: Path, tiny: StudyConfig) -> None:
    record = study_cells(tiny, copy)[0].directory / "stages" / "subset.json"
    facts = json.loads(record.read_text())
    for name in ("../../../../outside", "/etc/hostname"):
        record.write_text(json.dumps(facts | {"outputs": {name: "0" * 64}}))
        assert any("leads out of" in link.detail for link in verify(copy) if link.holds is False)


@point("No credentials are in it")
def test_credentials_are_refused_in_urls_and_left_out_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="holds no credentials") as caught:
        RunStore("s3://AKIA1234:the-word@bucket/runs")
    assert "the-word" not in str(caught.value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-word-itself")
    assert "the-word-itself" not in redact("refused: the-word-itself")


# --- code ---


@point("A configuration alone makes no code run")
def test_module_that_a_run_names_is_not_imported(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: StudyConfig
) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "planted_module.py").write_text(f"open({str(victim)!r}, 'w')\ndef make(*arguments): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = (copy / "config.toml").read_text()
    words = sorted(set(re.findall(r'= ("[^"\n]*")$', text, re.MULTILINE)))
    assert words
    for word in words:  # in the place of every word of the configuration
        (copy / "config.toml").write_text(text.replace(f"= {word}\n", '= "planted_module:make"\n'))
        try:
            load_run_config(copy)
        except AugmentError:
            continue
    assert not victim.exists()
    assert "planted_module" not in sys.modules


@point("Installed packages are trusted")
def test_install_takes_hashes_only_and_advisories_are_asked_for_all_of_them() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "pip sync --quiet --require-hashes" in makefile
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    packages = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", lock, re.MULTILINE | re.DOTALL)
    assert len(packages) > 100
    assert [each.split()[0] for each in packages if "--hash=sha256:" not in each] == []
    (advisories,) = re.findall(r"^advisories:.*\n\t(.*)$", makefile, re.MULTILINE)
    assert "pip-audit" in advisories
    assert "--requirement requirements.lock --require-hashes" in advisories
    check = makefile[makefile.index("\ncheck:") : makefile.index("\nadvisories:")]
    assert "pip-audit" not in check


@point("The systemd unit gives it less")
def test_systemd_unit_restricts_the_service() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ROOT / "docs" / "operations" / "augment.service")
    service = unit["Service"]
    assert service["NoNewPrivileges"] == "yes"
    assert (service["ProtectSystem"], service["ReadWritePaths"]) == ("strict", "/srv/augment")
