"""A store that is full, refuses, or is away, under real processes: they end with one line, and go on when asked."""

import os
import runpy
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from flows.study.processes import worker_context
from tests.flows.reports import figures
from tests.waiting import PATIENCE_SECONDS

SECRET = "mmSecretKeyOfTheFailingStore"
LOCATION = "s3://failing/run"
CUTS = 2  # connections that a store that is away for a moment cuts off; a task is tried three times

STUDY = """
import contextlib, sys
from flows.study.processes import take_environment
take_environment(ENVIRONMENT)
import flows.study.retrying
from flows import cli
from flows.augmentation_study import STAGE_TASKS

SOON = (0.1, 0.2)
flows.study.retrying.RETRY_SECONDS = SOON
for name, task in STAGE_TASKS.items():
    STAGE_TASKS[name] = task.with_options(retry_delay_seconds=list(SOON))

with open(OUT, "w") as stream, contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
    sys.argv = ["augment", "run", *ARGUMENTS, "--runner", "sequential"]
    cli.main()
"""


class Store:
    """An S3 server that gets into trouble when it is asked to take a chosen file."""

    def __init__(self) -> None:
        self.trouble, self._due, self._trouble_then, self._cuts = "", "", "", 0
        self._app = DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, self, threaded=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def plan(self, trouble: str, *, at: str) -> None:
        self._due, self._trouble_then, self._cuts = at, trouble, 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        writes = environ["REQUEST_METHOD"] in ("PUT", "POST")
        if self._due and writes and environ["PATH_INFO"].endswith(self._due):
            self.trouble, self._due = self._trouble_then, ""
        if self.trouble == "full" and writes:
            return _refuse("507 Insufficient Storage", "QuotaExceeded", start_response)
        if self.trouble == "refusing":
            return _refuse("403 Forbidden", "InvalidAccessKeyId", start_response)
        if self.trouble.startswith("away"):
            self._cuts += 1
            if self.trouble == "away for a moment" and self._cuts == CUTS:
                self.trouble = ""
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError("away")
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer


def _refuse(status: str, code: str, start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "application/xml")])
    return [f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()]


@pytest.fixture
def store() -> Iterator[Store]:
    found = Store()
    files(found).mkdir("failing")
    yield found
    found.server.shutdown()


def files(store: Store) -> Any:
    """The store's files, with a connection of their own: other tests have other servers under the same name."""
    client = {"endpoint_url": f"http://127.0.0.1:{store.port}"}
    return fsspec.filesystem("s3", key="any", secret="any", client_kwargs=client, skip_instance_cache=True)


@pytest.fixture
def ran(store: Store, prefect_api: str, tmp_path: Path) -> Callable[..., tuple[int | None, str]]:
    """Run `augment run` in a process of its own, forked from one that has imported most of it; how it ended."""
    (tmp_path / "study.py").write_text(STUDY)
    context = worker_context()  # of the product itself: a process has one fork server, and later tests use it, too
    environment = os.environ | {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.port}",
        "AWS_ACCESS_KEY_ID": "mmKeyOfTheFailingStore",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "PREFECT_API_URL": prefect_api,
    }

    def run(*arguments: str | Path) -> tuple[int | None, str]:
        out = tmp_path / "out"
        names = {
            "ENVIRONMENT": dict(environment),
            "ARGUMENTS": [str(argument) for argument in arguments],
            "OUT": str(out),
        }
        process = context.Process(target=runpy.run_path, args=(str(tmp_path / "study.py"), names))
        process.start()
        process.join(PATIENCE_SECONDS)
        return process.exitcode, out.read_text()

    return run


@pytest.mark.long
def test_store_that_fails_ends_a_run_with_one_line_and_it_goes_on_when_asked(
    store: Store,
    ran: Callable[..., tuple[int | None, str]],
    tiny_toml: Path,
    tmp_path: Path,
    expected: dict[str, object],
) -> None:
    arguments: list[str | Path] = [tiny_toml, "--run-dir", LOCATION]
    for trouble, reached, said in (
        ("full", "/0/stages/generator.json", "QuotaExceeded"),
        ("refusing", "/0/stages/arm real.json", "InvalidAccessKeyId"),
        ("away", "/1/stages/synthetic.json", f"cannot use {LOCATION}"),
    ):
        store.plan(trouble, at=reached)
        exit_code, text = ran(*arguments)
        assert store.trouble == trouble, text
        assert exit_code == 1, text
        (line,) = (line for line in text.splitlines() if line.startswith("error:"))
        assert said in line
        assert "Traceback" not in text
        assert SECRET not in text
        store.trouble = ""
        arguments = ["--resume", LOCATION]
    store.plan("away for a moment", at="/1/stages/arm real.json")  # this is survived
    exit_code, text = ran(*arguments)
    assert exit_code == 0, text
    assert store._cuts == CUTS
    files(store).get(f"{LOCATION}/report.json", str(tmp_path / "report.json"))
    assert figures(tmp_path) == expected
