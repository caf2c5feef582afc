"""The history of a directory of runs."""

import shutil
from pathlib import Path

import pytest

from data.base.errors import UsageError
from data.base.files import write_json
from evaluation.reporting.history import history_frame, read_history, update_history
from flows.commands.history import history
from tests.evaluation.fabricated import fabricate_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs."""
    folder = tmp_path_factory.mktemp("finished")
    for name, day, more in (("b-second", 2, (-6, -5, -7)), ("a-first", 1, (6, 7, 8))):
        fabricate_run(folder / name, more_right={10: more}).write_page()
        write_json(folder / name / "environment.json", {"created": f"2026-11-0{day}T10:00:00+00:00"})
    return folder


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    """The two finished runs, an unfinished and a broken one, and a directory that is no run."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.toml").write_text("seed = 0\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "report.json").write_text('{"report_version": 99}')
    (tmp_path / "something-else").mkdir()
    return tmp_path


def test_runs_are_in_order_of_time_whatever_their_names(runs: Path) -> None:
    finished = [entry.name for entry in read_history(runs) if entry.status == "finished"]
    assert finished == ["a-first", "b-second"]


def test_unfinished_and_broken_runs_are_listed_as_such(runs: Path) -> None:
    status = {entry.name: (entry.status, entry.detail) for entry in read_history(runs)}
    assert status["unfinished"] == ("unfinished", "no report yet: still running, or stopped")
    assert status["broken"][0] == "broken"
    assert "format 99" in status["broken"][1]
    assert "something-else" not in status


def test_damaged_environment_only_loses_the_time(runs: Path) -> None:
    (runs / "a-first" / "environment.json").write_text("{")
    entry = next(entry for entry in read_history(runs) if entry.name == "a-first")
    assert (entry.status, entry.created) == ("finished", "")


def test_table_has_gains_in_points(runs: Path) -> None:
    frame = history_frame(read_history(runs)).set_index("run")
    assert frame.loc["a-first", "10 per class"] == "+11.67"
    assert frame.loc["a-first", "verdict"] == "helps"
    assert frame.loc["broken", "verdict"] == "broken"


def test_control_characters_in_names_do_not_reach_the_terminal(runs: Path) -> None:
    (runs / "unfinished").rename(runs / "red\x1b[31m")
    names = list(history_frame(read_history(runs))["run"])
    assert "red\\x1b[31m" in names


def test_index_links_the_pages(runs: Path) -> None:
    page = update_history(runs).read_text()
    assert 'href="./a-first/report.html"' in page
    assert "./broken/" not in page


def test_index_is_a_function_of_the_runs(runs: Path) -> None:
    assert update_history(runs).read_bytes() == update_history(runs).read_bytes()


def test_empty_directory_has_an_empty_history(tmp_path: Path) -> None:
    assert "No runs yet" in update_history(tmp_path).read_text()
    assert history_frame(read_history(tmp_path)).empty


def test_page_of_somebody_else_is_left_alone(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "index.html").write_text("<p>my own site</p>")
    with pytest.raises(UsageError, match=r"index\.html is not of this tool and stays as it is"):
        update_history(runs)
    history(str(runs))
    assert "a-first" in capsys.readouterr().out
    assert (runs / "index.html").read_text() == "<p>my own site</p>"


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a directory of runs"):
        update_history(tmp_path / "nowhere")


def test_command_prints_the_table_and_the_page(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history(str(runs))
    printed = capsys.readouterr().out
    assert "a-first" in printed
    assert "-10.00" in printed
    assert str(runs / "index.html") in printed


def test_folder_without_runs_gets_no_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history(str(tmp_path))
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out.splitlines() == [f"no runs in {tmp_path} yet; start one with `augment run`"]


def test_run_is_no_directory_of_runs(runs: Path) -> None:
    with pytest.raises(UsageError, match="is a run; name the directory that it lies in"):
        history(str(runs / "a-first"))
    assert not (runs / "a-first" / "index.html").exists()
