"""What stages read, and when they count as finished: synthetic images are decoded once, and again when made again."""

import errno
import shutil
from pathlib import Path

import pytest

from data.parquet import read_published
from flows.study.config import StudyConfig
from flows.study.run_directory import study_cells
from flows.study.stages import Stage, read_synthetic


def test_synthetic_images_are_decoded_once_and_again_when_made_again(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    first, second = study_cells(tiny, tmp_path / "run")
    images = read_synthetic(first)
    assert read_synthetic(first) is images
    shutil.rmtree(first.synthetic_directory)
    shutil.copytree(second.synthetic_directory, first.synthetic_directory)
    assert read_synthetic(first).digest() == read_published(second.synthetic_directory).digest() != images.digest()


def test_read_error_that_may_pass_does_not_undo_a_finished_stage(
    tiny: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = study_cells(tiny, tmp_path / "run")[0]
    output = cell.directory / "result"

    def work(_: object) -> str:
        output.write_text("made")
        return "made"

    cell.directory.mkdir(parents=True)
    stage = Stage(cell=cell, name="x", inputs={}, rooms=(), work=work, outputs=lambda: [output])
    stage.run(lambda share, detail: None)
    assert stage.is_finished()

    def fail(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("flows.study.stages.digest_file", fail)
        with pytest.raises(OSError, match="Input/output"):
            stage.is_finished()
    assert stage.is_finished()
