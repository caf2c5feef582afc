"""A study meets what can go wrong: killed at any moment, a full disk, a server that goes away."""

import multiprocessing
import os
import random
import runpy
import subprocess
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from data.files import read_json
from flows.config import StudyConfig
from flows.server import prefect_server
from tests.flows.reports import figures

KILLS = 20

STUDY = """
import resource, signal
from pathlib import Path
from flows.commands.console import silence_prefect_console
from flows.config import StudyConfig
from flows.study import augmentation_study

if MAX_FILE_BYTES:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
silence_prefect_console()
try:
    augmentation_study(StudyConfig.model_validate_json(CONFIG), Path(RUN))
except Exception as error:
    Path(RUN).with_suffix(".error").write_text(f"{type(error).__name__}: {error}")
    raise SystemExit(1)
"""


@pytest.fixture(scope="module")
def start_study(
    tiny: StudyConfig, prefect_api: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., BaseProcess]:
    """Start a study in a process of its own, forked from one that has imported everything, so that it starts fast."""
    script = tmp_path_factory.mktemp("script") / "study.py"
    script.write_text(STUDY)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flows.study", "flows.commands.console"])

    def start(run: Path, *, max_file_bytes: int = 0) -> BaseProcess:
        names = {"CONFIG": tiny.model_dump_json(), "RUN": str(run), "MAX_FILE_BYTES": max_file_bytes}
        process = context.Process(target=runpy.run_path, args=(str(script), names))
        process.start()
        return process

    return start


def num_finished_stages(run: Path) -> int:
    return len(list(run.glob("cells/*/*/stages/*.json")))


def test_report_is_the_same_after_twenty_kills_at_random_moments(
    start_study: Callable[..., BaseProcess], tmp_path: Path, expected: dict[str, object]
) -> None:
    run, rng, moments = tmp_path / "run", random.Random(0), []
    while len(moments) < KILLS:
        process = start_study(run)
        goal, give_up = num_finished_stages(run) + rng.randint(0, 1), time.monotonic() + 60
        while process.is_alive() and time.monotonic() < give_up and num_finished_stages(run) < goal:
            time.sleep(0.005)
        process.join(rng.uniform(0, 0.4 if goal else 1.0))
        if not process.is_alive():
            break
        process.kill()
        process.join()
        moments.append(num_finished_stages(run))
    assert len(moments) >= KILLS, moments
    assert len(set(moments)) > KILLS // 3, moments  # spread over the stages
    last = start_study(run)
    last.join(120)
    assert last.exitcode == 0
    assert figures(run) == expected


def test_full_disk_stops_with_one_line_and_the_study_goes_on_afterwards(
    start_study: Callable[..., BaseProcess], tmp_path: Path, expected: dict[str, object]
) -> None:
    run = tmp_path / "run"
    process = start_study(run, max_file_bytes=20_000)
    process.join(120)
    assert process.exitcode == 1
    message = (tmp_path / "run.error").read_text()
    assert message.startswith("AugmentError: cannot write")
    assert len(message.splitlines()) == 1
    assert not [path for path in run.rglob("*.tmp") if path.is_file()]  # nothing half-written
    process = start_study(run)
    process.join(120)
    assert process.exitcode == 0
    assert figures(run) == expected


def test_study_outlives_its_server_or_stops_with_one_line(
    augment, tiny_toml: Path, tmp_path: Path, prefect_api: str, expected: dict[str, object]
) -> None:
    run = tmp_path / "run"
    with prefect_server(host="127.0.0.1", port=0) as url:
        environment = os.environ | {"PREFECT_API_URL": url, "PREFECT_CLIENT_MAX_RETRIES": "2"}
        command = augment.command("run", tiny_toml, "--run-dir", run)
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        give_up = time.monotonic() + 120
        while (
            process.poll() is None and not list(run.glob("cells/*/0/stages/subset.json")) and time.monotonic() < give_up
        ):
            time.sleep(0.01)
    _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    if process.returncode != 0:
        assert process.returncode == 1
        assert errors.count("error: ") == 1, errors
        assert "--resume" in errors.strip().splitlines()[-1]
        finished = augment("run", "--resume", run)
        assert finished.returncode == 0, finished.stderr
    assert figures(run) == expected
    assert read_json(run / "environment.json")["seed"] == 0
