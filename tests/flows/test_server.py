import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.context import SyncClientContext
from prefect.settings import PREFECT_API_URL

from data.base.errors import AugmentError
from data.base.files import read_json
from flows.progress import SERVER_ERRORS
from flows.server import (
    STUDY_SETTINGS,
    answers,
    api_url_everywhere,
    check_server,
    kept_running,
    last_error,
    running_server,
)
from tests.flows.conftest import STARTS_FILE
from tests.waiting import PATIENCE_SECONDS, wait_until

URL = "http://127.0.0.1:4321/api"


def seen_by_a_new_thread() -> str | None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(PREFECT_API_URL.value()))
    thread.start()
    thread.join()
    (url,) = seen
    return url


def test_threads_that_copy_no_context_find_the_server(monkeypatch):
    # Prefect's own thread that passes on the events of worker processes is one.
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with api_url_everywhere(URL):
        assert PREFECT_API_URL.value() == URL
        assert seen_by_a_new_thread() == URL
        assert os.environ["PREFECT_API_URL"] == URL
    assert seen_by_a_new_thread() is None


def test_first_contact_with_a_server_that_is_away_fails_as_every_other_one():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        away = f"http://127.0.0.1:{taken.getsockname()[1]}/api"
    with api_url_everywhere(away), pytest.raises(SERVER_ERRORS), SyncClientContext() as context:
        context.client.hello()


@contextmanager
def answering(status: int, text: str, path: str) -> Iterator[str]:
    """Serve `text` at a path of a server that says it is well; yield the address of its API."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == path
            self.send_response(status if found else 200)
            self.end_headers()
            self.wfile.write((text if found else "true").encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (200, "<html>the user interface</html>", "what is there is not its API, whose address ends in /api"),
        (200, '"2.20.1"', "Found incompatible versions"),
        (403, "no", "403 Forbidden"),
        (404, "no", "404 Not Found"),
        (500, "no", "500 Internal Server Error"),
    ],
)
def test_configured_server_of_another_kind_is_one_clear_line(status: int, text: str, reason: str):
    with answering(status, text, "/api/admin/version") as url, api_url_everywhere(url):
        with pytest.raises(AugmentError, match=reason) as refused:
            check_server(url)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_taken_port_is_named_in_either_kind_of_address(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        taken = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with taken:
        port = taken.getsockname()[1]
        refused = pytest.raises(AugmentError, match=f"cannot listen on {host}:{port} .*choose another --port")
        with refused, running_server(host=host, port=port):
            pass


def test_an_address_from_outside_is_put_back(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with api_url_everywhere(URL):
        pass
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:1/api"


def database_of_a_newer_prefect(home: Path) -> None:
    with sqlite3.connect(home / "prefect.db") as database:
        database.execute("create table alembic_version (version_num varchar(32))")
        database.execute("insert into alembic_version values ('ffffffffffff')")
    database.close()


def damaged_database(home: Path) -> None:
    (home / "prefect.db").write_bytes(b"not a database" * 1000)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (database_of_a_newer_prefect, "Can't locate revision identified by 'ffffffffffff'; .*set PREFECT_HOME"),
        (damaged_database, "file is not a database; the database is damaged"),
    ],
)
def test_server_that_does_not_come_up_says_why_in_one_line(spoil, reason, tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    spoil(tmp_path)
    with pytest.raises(AugmentError, match=reason) as caught, running_server(host="127.0.0.1", port=0):
        pass
    assert len(str(caught.value).splitlines()) == 1
    assert "exit code" in str(caught.value)


def test_unwritable_home_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(AugmentError, match="set PREFECT_HOME to a folder"), running_server(host="127.0.0.1", port=0):
        pass


def test_last_error_of_a_log_has_no_password_and_is_the_cause(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg://me:geheim-1234@db/prefect")
    log = tmp_path / "log"
    log.write_text(
        "Traceback (most recent call last):\n  File x\n"
        "asyncpg.exceptions.InvalidPasswordError: password authentication failed for me:geheim-1234\n"
        "ERROR:    Application startup failed. Exiting.\n"
    )
    assert last_error(log) == (
        "asyncpg.exceptions.InvalidPasswordError: password authentication failed for me:***; "
        "correct the password in PREFECT_API_DATABASE_CONNECTION_URL"
    )


def test_servers_that_start_beside_each_other_on_a_fresh_machine_all_come_up(made_home):
    assert read_json(made_home / STARTS_FILE) == ["", ""]


@pytest.mark.long
def test_server_of_a_study_that_is_killed_is_started_again(prefect_home, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(prefect_home))
    with running_server(host="127.0.0.1", port=0, settings=STUDY_SETTINGS) as server, kept_running(server):
        killed = server._process
        killed.kill()
        killed.wait()
        wait_until(lambda: server._process not in (None, killed) and answers(server.url), told=server.ended)


def test_attached_module_that_fails_early_ends_by_its_own_exit_code():
    command = [sys.executable, "-m", "flows.attached", "a_module_that_is_not_there"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.wait(timeout=PATIENCE_SECONDS) == 1 != -signal.SIGABRT
