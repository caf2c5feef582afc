"""The command line: what a person sees, and the one line and exit code that bad input gets."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from evaluation.reporting.report import read_report
from flows import cli
from flows.study.config import StudyConfig
from flows.study.run_directory import open_run

Run = Callable[..., "CompletedProcess[str]"]


def fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path
) -> tuple[int, str]:
    """Run the command line in this process; return its exit code and what it printed on standard error."""
    monkeypatch.setattr("sys.argv", ["augment", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--dataset", "imagenet"], "unknown dataset 'imagenet'"),
        (["run", "--dataset", "digits", "--images-per-class", "5000"], "the train split has only"),
        (["run", "--images-per-class", "-3"], "images_per_class"),
        (["run", "--images-per-class", "0"], "images_per_class"),
        (["run", "--images-per-class", "ten"], "neither a number"),
        (["run", "--replicates", "-1"], "replicates"),
        (["run", "--set", "gan.stepz=3"], "did you mean 'steps'"),
        (["run", "absent.toml"], "cannot read configuration absent.toml"),
        (["run", "--resume", "absent"], "not a run directory"),
        (["run", "--resume", "x" * 300], "cannot look at"),
        (["report", "x" * 300], "cannot look at"),
        (["verify", "~nobody-of-this-name/run"], "cannot look at"),
        (["export", "--output", "out", "--run", "x" * 300], "cannot look at"),
        (["compare", "x" * 300, "y"], "cannot look at"),
        (["history", "x" * 300], "cannot look at"),
        (["prune", "x" * 300], "cannot look at"),
        (["run", "--resume", "absent", "--seed", "1"], "only --replicates, --images-per-class, --generator,"),
        (["serve", "--cron", "every day"], "not a cron expression"),
        (["serve", "--cron", "0 0 3 * * *"], "has 6 fields; write 5: minute, hour, day of the month, month, day of"),
        (["serve", "--cron", "0 0 31 2 *"], "names no day that ever comes"),
        (["serve", "--cron", "* * * * *", "--interval", "5"], "not both"),
        (["serve", "--set", "data.dataset=mnits"], "did you mean 'mnist'"),
        (["prune", "absent"], "absent is not a directory of runs"),
        (["serve", "--interval", "nan"], "--interval must be a number of seconds from 1"),
        (["serve", "--interval", "inf"], "--interval must be a number of seconds from 1"),
        (["serve", "--interval", "1e-9"], "--interval must be a number of seconds from 1"),
        (["serve", "--interval", "1e300"], "--interval must be a number of seconds from 1"),
        (["serve", "--name", "a/b"], "--name 'a/b' cannot be used"),
        (["serve", "--name", "a?b"], "--name 'a?b' cannot be used"),
        (["serve", "--name", "a#b"], "--name 'a#b' cannot be used"),
        (["serve", "--name", ".."], "--name '..' cannot be used"),
        (["serve", "--name", ""], "--name '' cannot be used"),
        (["serve", "--cron", "0 3 * * *", "--timezone", "Europe/Atlantis"], "not the name of a time zone"),
        (["serve", "--cron", "0 3 * * *", "--timezone", "../etc"], "not the name of a time zone"),
        (["serve", "--cron", "0 3 * * *", "--timezone", "posix/UTC"], "--timezone 'posix/UTC' is not the name of"),
        (["serve", "--interval", "60", "--timezone", "right/UTC"], "--timezone 'right/UTC' is not the name of"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    prefect_api: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, error = fails(capsys, monkeypatch, *arguments)
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "runs/[a]"), "runs/[a]: Permission denied"),
        (MemoryError(), "there is not enough memory (MemoryError); ask for less, or free some"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            "there is not enough memory (CUDA out of memory. Tried to allocate 2.00 GiB.); ask for less, or free some",
        ),
    ],
)
def test_what_the_system_refuses_is_one_line_wherever_it_happens(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise error

    monkeypatch.setattr(cli, "app", refused)
    assert fails(capsys, monkeypatch) == (1, f"error: {line}\n")


ENDS = """
import atexit, sys
from flows import cli
from flows.commands.console import output_console

class Module:
    def __del__(self):
        print("cleared away")

def main():
    atexit.register(print, "told last")
    sys.modules["large"] = Module()
    print("last line")
    raise SystemExit(3)

cli.main = main
cli.program()
"""


def test_setting_that_prefect_cannot_use_is_named(augment: Run) -> None:
    ended = augment("report", "absent", environment={"PREFECT_SERVER_API_PORT": "abc"})
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: PREFECT_SERVER_API_PORT = 'abc' cannot be used: Input should be a valid integer")
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_terminal_that_cannot_show_a_mark_gets_another() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDS.replace("last line", "\u2713 last line")],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (3, "")
    assert "? last line" in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_closed_output_ends_in_order(closed: str) -> None:
    ended = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, ENDS.replace('print("last line")', "output_console()")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (3, "")


@pytest.mark.slow
def test_program_ends_with_its_code_once_all_is_told_and_clears_no_modules_away() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert ended.stdout.splitlines() == ["last line", "told last"]
    assert ended.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "serve"])
def test_server_that_is_configured_and_does_not_answer_is_one_line(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_toml: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.progress._away_until", 0.0)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        code, error = fails(capsys, monkeypatch, command, tiny_toml)
    assert code == 1
    assert "no Prefect server answers at http://127.0.0.1:9/api" in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_refused_run_leaves_no_directory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prefect_api: str
) -> None:
    monkeypatch.chdir(tmp_path)
    fails(capsys, monkeypatch, "run", "--dataset", "digits", "--images-per-class", "5000")
    fails(capsys, monkeypatch, "run", "--dataset", "imagenet")
    assert not list(tmp_path.iterdir())


def test_missing_data_fails_where_it_was_asked_for_by_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prefect_api: str
) -> None:
    monkeypatch.setenv("AUGMENT_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", [])
    code, error = fails(capsys, monkeypatch, "run", "--dataset", "mnist", "--run-dir", tmp_path / "run")
    assert code == 1
    assert "--dataset digits" in error
    assert not (tmp_path / "run").exists()


def test_two_processes_do_not_share_a_run(
    augment: Run, tiny: StudyConfig, tiny_toml: Path, tmp_path: Path, prefect_api: str
) -> None:
    with open_run(tmp_path / "run", tiny):
        second = augment("run", tiny_toml, "--run-dir", tmp_path / "run")
    assert second.returncode == 1
    assert "another process is working" in second.stderr
    assert "Traceback" not in second.stdout + second.stderr


@pytest.mark.long
def test_run_needs_no_server_and_prints_gains_and_report(
    augment: Run, tiny_toml: Path, tmp_path: Path, prefect_home: Path
) -> None:
    """The main job: an embedded server, a database of its own."""
    finished = augment(
        "run",
        tiny_toml,
        "--run-dir",
        tmp_path / "run",
        environment={"PREFECT_HOME": str(prefect_home), "PREFECT_API_URL": ""},
    )
    assert finished.returncode == 0, finished.stderr
    assert "real+classical+synthetic" in finished.stdout
    report = read_report(tmp_path / "run" / "report.json")
    assert report.regimes[0].sentence in finished.stdout
    assert str(tmp_path / "run" / "report.html") in finished.stdout
    assert "Traceback" not in finished.stderr


def test_default_falls_back_to_digits_loudly(
    augment: Run, tiny: StudyConfig, tmp_path: Path, prefect_api: str, tiny_toml: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a proxy that never answers: the network of a dead hotel
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        finished = augment(
            "run", tiny_toml, "--dataset", "auto", "--replicates", "1", "--run-dir", tmp_path / "run",
            environment={"AUGMENT_DATA": str(tmp_path / "empty"), "https_proxy": proxy, "http_proxy": proxy},
        )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "WARNING" in finished.stdout
    report = read_report(tmp_path / "run" / "report.json")
    assert report.dataset.name == "digits"
    assert "MNIST is not available" in report.dataset.warning
    assert "MNIST is not available" in (tmp_path / "run" / "report.html").read_text()
