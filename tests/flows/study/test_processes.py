"""Worker processes are forked from one that has imported everything, and know today's environment all the same."""

import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from flows.study import running
from flows.study.processes import LONGEST_FOLDER, take_environment, worker_context

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere worker processes start afresh")


def answer(expression: str) -> object:
    """Return what a new worker process answers."""
    told = (dict(os.environ),)
    with ProcessPoolExecutor(1, worker_context(), initializer=take_environment, initargs=told) as processes:
        return processes.submit(eval, expression).result()


@LINUX
def test_worker_finds_imported_what_it_needs() -> None:
    needed = [running.__name__, "torch._dynamo"]
    assert answer(f"[name in __import__('sys').modules for name in {needed}]") == [True, True]


@LINUX
def test_worker_starts_without_threads_of_others() -> None:
    assert answer("__import__('threading').active_count()") == 1


@LINUX
def test_worker_looks_for_garbage_but_not_in_what_it_shares_with_others() -> None:
    assert answer("__import__('gc').isenabled() and __import__('gc').get_freeze_count() > 100_000") is True


def test_worker_knows_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "__import__('os').environ.get('SAID_TO_WORKERS')"
    for said in ("first", "then"):
        monkeypatch.setenv("SAID_TO_WORKERS", said)
        assert answer(asked) == said
    monkeypatch.delenv("SAID_TO_WORKERS")
    assert answer(asked) is None


def test_temporary_folder_whose_path_is_too_long_for_sockets_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * LONGEST_FOLDER)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert worker_context().get_start_method() == "spawn"
