"""What stages read: the synthetic images are decoded once a cell, and again when they were made again."""

import shutil
from pathlib import Path

from data.parquet import read_published
from flows.config import StudyConfig
from flows.run_directory import study_cells
from flows.stages import read_synthetic


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
