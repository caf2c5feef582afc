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

import psutil
import pytest

from data.base.files import read_json
from flows.server import prefect_server
from flows.study.config import StudyConfig
from flows.study.stages.table import stage_weights
from tests.flows.reports import figures

KILLS = 20

STUDY = """
import resource, signal
from pathlib import Path
from flows.commands.console import silence_prefect_console
from flows.study.config import StudyConfig
from flows.study.stages.table import stage_weights
from flows.augmentation_study import augmentation_study

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
    context.set_forkserver_preload(["flows.augmentation_study", "flows.commands.console"])

    def start(run: Path, *, max_file_bytes: int = 0) -> BaseProcess:
        names = {"CONFIG": tiny.model_dump_json(), "RUN": str(run), "MAX_FILE_BYTES": max_file_bytes}
        process = context.Process(target=runpy.run_path, args=(str(script), names))
        process.start()
        return process

    return start


def num_finished_stages(run: Path) -> int:
    return len(list(run.glob("cells/*/*/stages/*.json")))


def is_reached(run: Path, place: int) -> bool:
    """Whether the stages before this one are finished; before the first one, whether the run has begun."""
    return num_finished_stages(run) >= place if place else (run / "config.toml").exists()


def test_report_is_the_same_after_a_kill_in_each_stage_at_random_moments(
    start_study: Callable[..., BaseProcess], tmp_path: Path, tiny: StudyConfig, expected: dict[str, object]
) -> None:
    run, rng = tmp_path / "run", random.Random(0)
    stages = [stage for _ in range(tiny.replicates) for stage in stage_weights(tiny, "balanced-10")]
    killed_in = []
    assert len(stages) >= KILLS
    for place in range(len(stages)):  # wait until the stages before this one are finished, and kill a moment later
        process, give_up = start_study(run), time.monotonic() + 60
        while not is_reached(run, place) and process.is_alive() and time.monotonic() < give_up:
            time.sleep(0.002)
        process.join(rng.uniform(0, 0.01 if stages[place] == "subset" else 0.03))  # a subset is drawn in a moment
        if num_finished_stages(run) == len(stages):
            break
        assert process.is_alive()
        process.kill()
        process.join()
        killed_in.append(stages[num_finished_stages(run)])
    assert len(killed_in) >= KILLS
    assert set(killed_in) == set(stages)
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


NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]  # in which any user may mount a small disk
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=$SIZE small "$DISK" || exit 77
"$@" run "$CONFIG" --run-dir "$DISK/run" >"$OUT/first.out" 2>"$OUT/first.err"
echo $? >"$OUT/first.status"
(cd "$DISK" && find run -type f) >"$OUT/left"
mount -o remount,size=100m "$DISK" || exit 77
"$@" run --resume "$DISK/run" >"$OUT/second.out" 2>"$OUT/second.err"
echo $? >"$OUT/second.status"
cp -r "$DISK/run" "$OUT/run"
"""


def test_study_on_a_full_disk_stops_with_one_line_loses_nothing_and_goes_on_when_there_is_room(
    augment, tiny_toml: Path, tmp_path: Path, prefect_api: str, expected: dict[str, object]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    finished = subprocess.run(
        [*NAMESPACE, "sh", "-c", ON_A_SMALL_DISK, "sh", *augment.command()],
        env=os.environ | {"SIZE": "400k", "DISK": str(disk), "OUT": str(tmp_path), "CONFIG": str(tiny_toml)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if not (tmp_path / "second.status").exists():
        pytest.skip(f"no small disk can be mounted here: {finished.stderr.strip()}")
    error = (tmp_path / "first.err").read_text()
    assert (tmp_path / "first.status").read_text() == "1\n", error
    assert error.startswith("error: cannot write")
    assert "No space left on device" in error
    assert len(error.splitlines()) == 1
    left = (tmp_path / "left").read_text().split()
    finished_stages = [name for name in left if "/stages/" in name]
    assert finished_stages
    assert not [name for name in left if name.endswith(".tmp")]
    assert (tmp_path / "second.status").read_text() == "0\n", (tmp_path / "second.err").read_text()
    assert (tmp_path / "second.out").read_text().count("finished before") == len(finished_stages)
    assert figures(tmp_path / "run") == expected


def test_killed_study_leaves_no_process_behind(augment, tiny_toml: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": ""}
    command = augment.command("run", tiny_toml, "--run-dir", run, "--runner", "processes", "--workers", "2")
    study = psutil.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 120
    while not list(run.glob("cells/*/*/stages/*.json")) and time.monotonic() < give_up:
        time.sleep(0.05)
    family = study.children(recursive=True)
    commands = [" ".join(child.cmdline()) for child in family]
    study.kill()
    study.wait()
    assert any("server start" in command for command in commands)
    assert sum("spawn_main" in command for command in commands) >= 2
    assert psutil.wait_procs(family, timeout=15)[1] == []


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
