"""The run directory refuses what does not belong in it."""

import json
from pathlib import Path

import pytest

from data.base.errors import AugmentError, CorruptFileError, UsageError
from flows.study.config import StudyConfig
from flows.study.run_directory import load_run_config, new_run_location, open_run, study_cells
from flows.study.store import RunStore


def test_configuration_is_saved_before_anything_runs(tiny: StudyConfig, tmp_path: Path) -> None:
    with open_run(tmp_path / "run", tiny) as compute:
        assert load_run_config(tmp_path / "run") == tiny
        environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["compute"]["precision"] == compute.precision == "float32"
    assert environment["versions"]["torch"]


def test_second_process_is_refused(tiny: StudyConfig, tmp_path: Path) -> None:
    with (
        open_run(tmp_path / "run", tiny),
        pytest.raises(AugmentError, match="another process is working"),
        open_run(tmp_path / "run", tiny),
    ):
        pass


def test_other_configuration_is_refused(tiny: StudyConfig, tmp_path: Path) -> None:
    with open_run(tmp_path / "run", tiny):
        pass
    other = tiny.model_copy(update={"seed": 1})
    with pytest.raises(UsageError, match="another configuration"), open_run(tmp_path / "run", other):
        pass


@pytest.mark.parametrize("same_format", [True, False])
def test_other_format_is_refused_and_another_version_of_the_same_format_is_read(
    same_format: bool, tiny: StudyConfig, tmp_path: Path
) -> None:
    with open_run(tmp_path / "run", tiny):
        pass
    file = tmp_path / "run" / "environment.json"
    facts = json.loads(file.read_text())
    facts["versions"]["augmentation-gain"] = "0.0.1"
    facts["format_version"] += 0 if same_format else 1
    file.write_text(json.dumps(facts))
    if same_format:
        assert load_run_config(tmp_path / "run") == tiny
    else:
        with pytest.raises(UsageError, match=r"made by version 0\.0\.1"):
            load_run_config(tmp_path / "run")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run directory"):
        load_run_config(tmp_path)
    (tmp_path / "config.toml").write_text("seed = 'x'")
    with pytest.raises(CorruptFileError, match="cannot be read"):
        load_run_config(tmp_path)


def test_unwritable_place_is_named(tiny: StudyConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AugmentError, match="choose another place"), open_run(tmp_path / "file" / "run", tiny):
        pass


def test_names_of_runs_are_new(tiny: StudyConfig, tmp_path: Path) -> None:
    first = Path(new_run_location(tmp_path, tiny))
    first.mkdir()
    assert Path(new_run_location(tmp_path, tiny)) != first


def test_cells_are_regimes_times_replicates(tiny: StudyConfig, tmp_path: Path) -> None:
    assert [cell.name for cell in study_cells(tiny, tmp_path)] == ["balanced-10/0", "balanced-10/1"]


def test_file_that_a_run_renames_meanwhile_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.json").write_text("12345")
    (tmp_path / ".report.json.partial").symlink_to("gone")
    monkeypatch.setattr(Path, "is_file", lambda self: True)  # it was one a moment ago
    assert RunStore(str(tmp_path)).size_bytes() == 5


@pytest.mark.parametrize("name", ["file", "file/runs", "/proc/runs"])
def test_place_that_cannot_be_written_is_told_before_anything_is_made(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AugmentError, match=r"cannot write .*choose another place"):
        RunStore(str(tmp_path / name)).check_writable()


def test_place_that_can_be_written_is_not_made(tmp_path: Path) -> None:
    RunStore(str(tmp_path / "runs" / "nightly")).check_writable()
    assert not list(tmp_path.iterdir())
