"""Runs as pages: read-only, nothing outside, nothing hidden, and links of a served run lead there."""

import http.client
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import pytest

from data.base.errors import AugmentError
from flows.pages import page_link, served_pages
from flows.study.store import RunStore
from tests.waiting import PATIENCE_SECONDS, PATIENT


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with one run, beside files that are nobody's business."""
    run = tmp_path / "runs" / "first run"
    (run / "cells").mkdir(parents=True)
    (run / "config.toml").write_text("seed = 0\n")
    (run / "report.html").write_text("<p>the report</p>")
    (run / ".owner.json").write_text("{}")
    (run / "program.py").write_text("secret")
    (tmp_path / "secret.json").write_text('"secret"')
    (run / "link.json").symlink_to(tmp_path / "secret.json")
    return tmp_path / "runs"


@pytest.fixture
def url(runs: Path) -> Iterator[str]:
    with served_pages(RunStore(str(runs)), host="127.0.0.1", port=0) as found:
        yield found


def raw(url: str, path: str, *, method: str = "GET", host: str | None = None) -> tuple[int, bytes]:
    """Ask for a path just as it is written."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_SECONDS)
    connection.putrequest(method, path, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_index_and_report_are_served_with_a_policy(url: str) -> None:
    index, report = PATIENT.get(url), PATIENT.get(f"{url}/first%20run/report.html")
    assert "first run" in index.text
    assert report.text == "<p>the report</p>"
    for answer in (index, report):
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/../secret.json", "/first%20run/../../secret.json", "/%2e%2e/secret.json", "/first%20run/link.json",
     "//etc/x.txt", "/first%20run/.owner.json", "/first%20run/program.py", "/first%20run/cells",
     "/first%20run/", "/absent.html",
     "/first%20run/%00.html", "/..%5csecret.json", "/" + "a/" * 5000 + "x.html"],
)  # fmt: skip
def test_nothing_outside_and_nothing_hidden_is_served(path: str, url: str) -> None:
    status, content = raw(url, path)
    assert status == 404
    assert b"secret" not in content


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(method: str, url: str, runs: Path) -> None:
    status, _ = raw(url, "/first%20run/report.html", method=method)
    assert status == 501
    assert (runs / "first run" / "report.html").read_text() == "<p>the report</p>"


def test_head_has_no_body(url: str) -> None:
    assert raw(url, "/first%20run/report.html", method="HEAD") == (200, b"")


def test_name_of_another_site_that_leads_to_this_machine_is_refused(url: str) -> None:
    assert raw(url, "/", host="evil.example")[0] == 403
    assert raw(url, "/", host="localhost:1")[0] == 200


def test_runs_of_a_store_are_served() -> None:
    fsspec.filesystem("memory").pipe_file("/shown/first/report.html", b"<p>far</p>")
    fsspec.filesystem("memory").pipe_file("/shown/first/config.toml", b"")
    with served_pages(RunStore("memory://shown"), host="127.0.0.1", port=0) as url:
        assert PATIENT.get(f"{url}/first/report.html").text == "<p>far</p>"
        assert "first" in PATIENT.get(url).text


def test_links_of_a_served_run_lead_to_its_page_and_others_to_the_file(url: str, runs: Path) -> None:
    served, other = RunStore(str(runs / "first run")), RunStore(str(runs.parent / "elsewhere"))
    assert page_link(served, "report.html") == f"{url}/first%20run/report.html"
    assert PATIENT.get(page_link(served, "report.html")).status_code == 200
    assert page_link(other, "report.html").startswith("file://")


def test_links_lead_to_files_again_when_nobody_serves(runs: Path) -> None:
    with served_pages(RunStore(str(runs)), host="127.0.0.1", port=0):
        pass
    assert page_link(RunStore(str(runs / "first run")), "report.html").startswith("file://")
    assert "AUGMENT_PAGES_URL" not in os.environ


def test_taken_port_is_named(url: str, runs: Path) -> None:
    port = urlsplit(url).port
    taken = pytest.raises(AugmentError, match="choose another --pages-port")
    with taken, served_pages(RunStore(str(runs)), host="127.0.0.1", port=port):
        pass


@pytest.mark.parametrize("host", ["999.1.1.1", "a..b"])
def test_host_that_cannot_be_is_named(host: str, runs: Path) -> None:
    wrong = pytest.raises(AugmentError, match=rf"cannot listen on {re.escape(host)} \(.*choose another --host")
    with wrong, served_pages(RunStore(str(runs)), host=host, port=None):
        pass


def test_request_that_makes_no_sense_is_refused_without_a_traceback(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raw(url, "/", host="[")[0] == 400
    assert capsys.readouterr().err == ""


def test_reader_who_goes_in_the_middle_leaves_no_traceback(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("shutil.copyfileobj", broken)
    with pytest.raises(http.client.IncompleteRead):
        raw(url, "/first%20run/report.html")
    assert raw(url, "/first%20run/report.html", method="HEAD")[0] == 200
    assert capsys.readouterr().err == ""
