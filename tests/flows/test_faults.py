"""A study meets what can go wrong: killed at any moment, a full disk, a server that goes away."""

import os
import random
import runpy
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.server import running_server
from flows.study.config import StudyConfig
from flows.study.processes import worker_context
from flows.study.stages.table import stage_weights
from tests.flows.interrupting import FIRST_GRID, Interruption
from tests.flows.reports import figures
from tests.waiting import PATIENCE_SECONDS, wait_until

STUDY = """
import os, resource, signal, sys
from pathlib import Path
from flows.study.config import StudyConfig
from flows.study.running import run_study

WRITES = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}
left = KILL_AT_WRITE

def look(event, arguments):
    global left
    if event not in WRITES or not str(arguments[0]).startswith(RUN):
        return
    if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
        return
    if left and len(list(Path(RUN).glob("cells/*/*/stages/*.json"))) >= AFTER_STAGES:
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(look)
if MAX_FILE_BYTES:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
try:
    run_study(StudyConfig.model_validate_json(CONFIG), Path(RUN))
except Exception as error:
    Path(RUN).with_suffix(".error").write_text(f"{type(error).__name__}: {error}")
    raise SystemExit(1)
"""


@pytest.fixture(scope="module")
def study_in_a_process(tiny: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., int | None]:
    """Run a study without Prefect in a process that is forked from one that has imported most of it; its exit code.

    It can kill itself (SIGKILL) right before the n-th time that it changes its files after so many finished stages.
    What a run is after a kill depends on what it has written, and so this is every moment that there is.
    """
    script = tmp_path_factory.mktemp("script") / "study.py"
    script.write_text(STUDY)
    context = worker_context()  # of the product itself: a process has one fork server, and later tests use it, too

    def start(run: Path, *, kill_at_write: int = 0, after_stages: int = 0, max_file_bytes: int = 0) -> int | None:
        limits = {"KILL_AT_WRITE": kill_at_write, "AFTER_STAGES": after_stages, "MAX_FILE_BYTES": max_file_bytes}
        names = {"CONFIG": tiny.model_dump_json(), "RUN": str(run), **limits}
        process = context.Process(target=runpy.run_path, args=(str(script), names), daemon=True)
        process.start()
        process.join(PATIENCE_SECONDS)
        return process.exitcode

    return start


@pytest.mark.long
def test_report_is_the_same_after_a_kill_in_each_stage_at_random_moments(
    study_in_a_process: Callable[..., int | None], tmp_path: Path, tiny: StudyConfig, undisturbed: Path
) -> None:
    run, rng = tmp_path / "run", random.Random(0)
    stages = list(stage_weights(tiny, "balanced-10"))
    for place, stage in enumerate([*stages, stages[0], stages[1]]):  # and the first ones of the second cell
        kill_at_write = rng.randint(1, 30 if stage == "generator" else 6)
        assert study_in_a_process(run, kill_at_write=kill_at_write, after_stages=place) == -signal.SIGKILL
        assert len(list(run.glob("cells/*/*/stages/*.json"))) == place
    assert study_in_a_process(run) == 0
    assert figures(run) == figures(undisturbed)


def test_full_disk_stops_with_one_line_and_the_study_goes_on_afterwards(
    study_in_a_process: Callable[..., int | None], tmp_path: Path, undisturbed: Path
) -> None:
    run = tmp_path / "run"
    assert study_in_a_process(run, max_file_bytes=20_000) == 1
    message = (tmp_path / "run.error").read_text()
    assert message.startswith("AugmentError: cannot write")
    assert len(message.splitlines()) == 1
    assert not [path for path in run.rglob("*.tmp") if path.is_file()]  # nothing half-written
    assert study_in_a_process(run) == 0
    assert figures(run) == figures(undisturbed)


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


@pytest.mark.long
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
        timeout=PATIENCE_SECONDS,
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


@pytest.mark.long
def test_killed_study_leaves_no_process_behind(augment, tiny_toml: Path, prefect_home: Path, tmp_path: Path) -> None:
    waiting = Interruption(folder=tmp_path / "interruption", before=(FIRST_GRID,), kill=False)
    environment = os.environ | {"PREFECT_HOME": str(prefect_home), "PREFECT_API_URL": ""}
    arguments = ("run", tiny_toml, "--run-dir", tmp_path / "run", "--runner", "processes", "--workers", "2")
    study = psutil.Popen(
        augment.command(*arguments),
        env=environment | waiting.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(waiting.reached)
    family = study.children(recursive=True)
    commands = [" ".join(child.cmdline()) for child in family]
    study.kill()
    study.wait()
    assert any("server start" in command for command in commands)
    assert sum("multiprocessing.forkserver" in command for command in commands) >= 3  # two workers and their parent
    assert psutil.wait_procs(family, timeout=PATIENCE_SECONDS)[1] == []


@pytest.mark.long
def test_study_whose_server_goes_away(augment, tiny_toml: Path, tmp_path: Path, expected: dict[str, object]) -> None:
    run = tmp_path / "run"
    waiting = Interruption(folder=tmp_path / "interruption", before=("stages/subset.json",), kill=False)
    with running_server(host="127.0.0.1", port=0) as server:
        process = subprocess.Popen(
            augment.command("run", tiny_toml, "--run-dir", run),
            env=os.environ | {"PREFECT_API_URL": server.url, "PREFECT_CLIENT_MAX_RETRIES": "2"} | waiting.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(waiting.reached)
    waiting.release()
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    print(process.returncode, errors)
    assert process.returncode == 1
    assert errors.count("error: ") == 1, errors
    assert "--resume" in errors.strip().splitlines()[-1]
    assert "Traceback" not in errors
    finished = augment("run", "--resume", run, "--runner", "sequential")
    assert finished.returncode == 0, finished.stderr
    assert figures(run) == expected
