"""Other people's images, the whole way: in, through a tiny study, out as a data set, and in again."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data.base.device import Compute
from data.config import DataConfig
from data.sources.registry import load_source
from evaluation.reporting.report import read_report
from flows.augmentation_study import augmentation_study
from flows.study.config import StudyConfig
from gan.export import ExportRequest, export_dataset


def picture(label: int, *, side: int, mode: str, rng: np.random.Generator) -> Image.Image:
    """A noisy picture whose class is in the direction of its stripes."""
    channels = 3 if mode == "RGB" else 1
    pixels = rng.integers(0, 80, (side, side, channels), dtype=np.uint8)
    if label == 0:
        pixels[::2] += 150
    elif label == 1:
        pixels[:, ::2] += 150
    return Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels, mode)


def colour_folder(root: Path) -> str:
    """Three classes of colour images, 30x30, which the networks cannot take as they are."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("rows", "columns", "noise")):
        (root / name).mkdir(parents=True)
        for number in range(16):
            picture(label, side=30, mode="RGB", rng=rng).save(root / name / f"{number}.png")
    return f"folder:{root}"


def imbalanced_parquet(root: Path) -> str:
    """A bare Parquet file with 40 images of one class, 8 of another and three of the third."""
    rng = np.random.default_rng(1)
    labels = [0] * 40 + [1] * 8 + [2] * 3
    images = []
    for number, label in enumerate(labels):
        file = root / f"{number}.png"
        picture(label, side=16, mode="L", rng=rng).save(file)
        images.append({"bytes": file.read_bytes(), "path": None})
    pq.write_table(pa.table({"image": images, "label": pa.array(labels, pa.int64())}), root / "images.parquet")
    return f"parquet:{root / 'images.parquet'}"


def digits(root: Path) -> str:
    """scikit-learn's digits, 8x8."""
    return "digits"


@pytest.mark.parametrize(
    ("make", "regime", "shape"),
    [
        (colour_folder, 8, (3, 32, 32)),
        (imbalanced_parquet, "all", (1, 16, 16)),
        (imbalanced_parquet, 2, (1, 16, 16)),
        (digits, "long-tailed:20:10", (1, 8, 8)),
    ],
)
@pytest.mark.long
def test_images_go_through_study_and_export_and_back_in(
    make, regime: int | str, shape: tuple[int, int, int], tiny: StudyConfig, tmp_path: Path, prefect_api: str
) -> None:
    (tmp_path / "images").mkdir()
    data = DataConfig(dataset=make(tmp_path / "images"), images_per_class=(regime,), folds=3)
    run = tmp_path / "run"
    augmentation_study(tiny.model_copy(update={"data": data, "replicates": 1}), run)

    report = read_report(run / "report.json")
    assert report.dataset.image_shape == shape
    assert report.regimes[0].design.name == "one data set"
    assert report.regimes[0].num_replicates == report.regimes[0].design.folds  # one is asked for: each fold once
    assert report.regimes[0].headline.low is not None
    assert "report" in (run / "report.html").read_text()

    generator = next((run / "cells").glob("*/0/generator"))
    export_dataset(
        generator,
        tmp_path / "out",
        ExportRequest(num_images=12, seed=0),
        compute=Compute(device="cpu", precision="float32"),
        on_progress=lambda progress: None,
    )
    again = load_source(f"parquet:{tmp_path / 'out'}")
    assert len(again.train) + len(again.test) == 12
    assert again.train.shape == shape
    assert again.train.class_names == report.dataset.class_names
