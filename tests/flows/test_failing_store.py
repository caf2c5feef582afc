"""A store that is full, refuses, or is away, under a real process: it ends with one line, and goes on when asked."""

import multiprocessing
import runpy
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from flows.study.config import StudyConfig
from tests.flows.reports import figures
from tests.flows.test_serve import free_port

SECRET = "mmSecretKeyOfTheFailingStore"
LOCATION = "s3://failing/run"
GIVE_UP = 150  # seconds, for a slow machine

STUDY = """
import contextlib, io, os, sys
os.environ.update(ENVIRONMENT)
import flows.study.retrying
flows.study.retrying.RETRY_SECONDS = (0.1, 0.2)  # before the tasks are made with it
from flows import cli

with open(OUT, "w") as stream, contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
    sys.argv = ["augment", "run", *ARGUMENTS, "--runner", "sequential"]
    cli.main()
"""


def xml_error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


class Store:
    """An S3 server that can be told to be full, to refuse, or to be away."""

    def __init__(self) -> None:
        self.trouble = ""
        self.port = free_port()
        self.files: Any = None
        self._app = DomainDispatcherApplication(create_backend_app)
        self.come()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.trouble == "full" and environ["REQUEST_METHOD"] in ("PUT", "POST"):
            return self._refuse("507 Insufficient Storage", "QuotaExceeded", start_response)
        if self.trouble == "refusing":
            return self._refuse("403 Forbidden", "InvalidAccessKeyId", start_response)
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer

    def _refuse(self, status: str, code: str, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "application/xml")])
        return [xml_error(code)]

    def come(self) -> None:
        self._server = make_server("127.0.0.1", self.port, self, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def go(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    found = Store()
    for name, value in environment(found).items():
        monkeypatch.setenv(name, value)
    found.files = fsspec.filesystem("s3", skip_instance_cache=True)  # other tests have other servers
    found.files.mkdir("failing")
    yield found
    found.go()


def environment(store: Store) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.port}",
        "AWS_ACCESS_KEY_ID": "mmKeyOfTheFailingStore",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }


@pytest.fixture
def start(store: Store, prefect_api: str, tmp_path: Path) -> Callable[..., tuple[BaseProcess, Path]]:
    """Start `augment run` in a process of its own, forked from one that has imported everything."""
    script = tmp_path / "study.py"
    script.write_text(STUDY)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flows.augmentation_study", "flows.commands.run"])

    def started(*arguments: str | Path) -> tuple[BaseProcess, Path]:
        out = tmp_path / f"{time.monotonic_ns()}.out"
        names = {
            "ENVIRONMENT": environment(store) | {"PREFECT_API_URL": prefect_api},
            "ARGUMENTS": [str(argument) for argument in arguments],
            "OUT": str(out),
        }
        process = context.Process(target=runpy.run_path, args=(str(script), names))
        process.start()
        return process, out

    return started


def wait_until_held(store: Store, name: str, process: BaseProcess) -> None:
    """Wait until the store holds a file of the run."""
    give_up = time.monotonic() + GIVE_UP
    while process.is_alive() and time.monotonic() < give_up:
        store.files.invalidate_cache()
        if store.files.exists(f"{LOCATION}/{name}"):
            return
        time.sleep(0.02)
    raise AssertionError(f"{name} never came")


def stages(cell: int, name: str) -> str:
    return f"cells/balanced-10/{cell}/stages/{name}.json"


def test_store_that_fails_ends_a_run_with_one_line_and_it_goes_on_when_asked(
    store: Store,
    start: Callable[..., tuple[BaseProcess, Path]],
    tiny_toml: Path,
    tiny: StudyConfig,
    tmp_path: Path,
    expected: dict[str, object],
) -> None:
    arguments: list[str | Path] = [tiny_toml, "--run-dir", LOCATION]
    for trouble, reached, said in (
        ("full", stages(0, "subset"), "QuotaExceeded"),
        ("refusing", stages(0, "synthetic"), "InvalidAccessKeyId"),
        ("away", stages(0, "arm real"), "cannot use s3://failing/run"),
    ):
        process, out = start(*arguments)
        wait_until_held(store, reached, process)
        store.trouble = trouble
        if trouble == "away":
            store.go()
        process.join(GIVE_UP)
        if trouble == "away":
            store.come()
        store.trouble = ""
        text = out.read_text()
        assert process.exitcode == 1, text
        lines = [line for line in text.splitlines() if line.startswith("error:")]
        assert len(lines) == 1, text
        assert said in lines[0]
        assert "Traceback" not in text
        assert SECRET not in text
        arguments = ["--resume", LOCATION]
    process, out = start(*arguments)
    wait_until_held(store, stages(1, "subset"), process)
    store.go()  # for a moment: this is survived
    time.sleep(0.5)
    store.come()
    process.join(GIVE_UP)
    assert process.exitcode == 0, out.read_text()
    store.files.get(f"{LOCATION}/report.json", str(tmp_path / "report.json"))
    assert figures(tmp_path) == expected
