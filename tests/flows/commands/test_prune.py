"""Old runs go, but never one that another is held against, that is unfinished, or that somebody works in."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from data.base.errors import UsageError
from evaluation.reporting.history import update_history
from flows.commands.prune import age, prune
from flows.study.retention import fates
from flows.study.store import RunStore
from tests.evaluation.fabricated import fabricate_run

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    fabricate_run(folder, more_right={10: (1, 2, 3)}).write_page()
    return folder


@pytest.fixture
def add_run(finished: Path) -> Callable[..., Path]:
    def add(runs: Path, name: str, *, days_old: int, base: str | None = None, worse: bool = False) -> Path:
        run = Path(shutil.copytree(finished, runs / name))
        created = (NOW - timedelta(days=days_old)).isoformat()
        (run / "config.toml").write_text("")
        (run / "environment.json").write_text(json.dumps({"created": created}))
        (run / "judgement.json").write_text(json.dumps({"base": base, "regressions": ["worse"] if worse else []}))
        return run

    return add


def kept(runs: Path, *, keep: int = 1, days: int = 90) -> dict[str, str]:
    found = fates(RunStore(str(runs)), keep=keep, older_than=timedelta(days=days), now=NOW)
    return {fate.name: fate.kept for fate in found}


def test_old_runs_go_and_the_newest_stay(add_run: Callable[..., Path], tmp_path: Path) -> None:
    for place, days in enumerate((200, 150, 100, 10)):
        add_run(tmp_path, f"run{place}", days_old=days)
    assert [name for name, why in kept(tmp_path, keep=2).items() if not why] == ["run0", "run1"]
    assert [name for name, why in kept(tmp_path, keep=1).items() if not why] == ["run0", "run1", "run2"]
    assert not [name for name, why in kept(tmp_path, days=300).items() if not why]


def test_base_of_a_run_that_stays_and_the_last_good_run_stay(add_run: Callable[..., Path], tmp_path: Path) -> None:
    add_run(tmp_path, "base", days_old=300)
    add_run(tmp_path, "old", days_old=250)
    add_run(tmp_path, "good", days_old=200)
    add_run(tmp_path, "bad", days_old=150, worse=True)
    add_run(tmp_path, "newest", days_old=100, base="base", worse=True)
    found = kept(tmp_path)
    assert found["base"] == "newest is held against it"
    assert found["good"] == "the last good run of its configuration"
    assert [name for name, why in found.items() if not why] == ["old", "bad"]


def test_links_are_no_runs_and_what_they_lead_to_stays(add_run: Callable[..., Path], tmp_path: Path) -> None:
    for place, days in enumerate((200, 150, 100)):
        add_run(tmp_path, f"run{place}", days_old=days)
    (tmp_path / "stable").symlink_to("run0")
    (tmp_path / "z-latest").symlink_to(tmp_path / "run2")
    assert kept(tmp_path) == {
        "run0": "the link stable leads to it",
        "run1": "",
        "run2": "one of the 1 newest of its configuration",
    }


def test_unfinished_and_unreadable_runs_stay(add_run: Callable[..., Path], tmp_path: Path) -> None:
    (add_run(tmp_path, "unfinished", days_old=300) / "report.json").unlink()
    (add_run(tmp_path, "broken", days_old=300) / "report.json").write_text("{")
    add_run(tmp_path, "newest", days_old=200)
    found = kept(tmp_path)
    assert found["unfinished"] == "unfinished"
    assert found["broken"].startswith("cannot be read")


def test_nothing_is_removed_unless_it_is_asked_for(
    add_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, days in enumerate((2000, 1500, 1000)):
        add_run(tmp_path, f"run{place}", days_old=days)
    prune(str(tmp_path), keep=1, older_than="90d", delete=False)
    assert "2 of 3 runs" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 3
    with FileLock(tmp_path / "run0" / ".lock"):
        prune(str(tmp_path), keep=1, older_than="90d", delete=True)
    assert "stays run0: a process is working in" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run0", "run2"]


def test_index_lists_what_is_left_and_nothing_of_removed_runs_stays(
    add_run: Callable[..., Path], tmp_path: Path
) -> None:
    for place, days in enumerate((2000, 1500)):
        add_run(tmp_path, f"run{place}", days_old=days)
    update_history(tmp_path)
    add_run(tmp_path, ".going-run9", days_old=2500)  # a removal that was cut off
    prune(str(tmp_path), keep=1, older_than="90d", delete=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "run1"]
    index = (tmp_path / "index.html").read_text()
    assert "run1" in index
    assert "run0" not in index


def test_age_is_read_and_nonsense_is_named() -> None:
    assert age("12w") == timedelta(weeks=12)
    for text in ("90", "d", "-3d", "1e400d", "9" * 400 + "d"):
        with pytest.raises(UsageError, match="write for example 90d"):
            age(text)


@pytest.mark.parametrize("name", ["absent", "file", "run"])
def test_what_is_no_directory_of_runs_is_refused(name: str, add_run: Callable[..., Path], tmp_path: Path) -> None:
    """As where a nightly job names a folder that was moved."""
    (tmp_path / "file").write_text("")
    add_run(tmp_path, "run", days_old=100)
    with pytest.raises(UsageError, match=f"{name} is (not a directory of runs|a run); name"):
        kept(tmp_path / name)
