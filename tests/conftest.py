"""Fixtures that several rooms share: tiny labelled images, and where real MNIST lies."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from data.images import LabelledImages

os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="augment-cache-")  # nothing of a user's cache is read or written
torch.set_num_threads(1)  # networks this small lose by more


WAITING = {"prefect_api", "undisturbed", "expected", "augment", "bucket"}  # fixtures of servers and whole studies
SLOW_FILES = {"test_browser.py", "test_coverage.py", "test_training.py", "test_augmentation_gain.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what waits for servers or trains for long as slow: `make quick` leaves it out."""
    for item in items:
        if WAITING & set(getattr(item, "fixturenames", ())) or item.path.name in SLOW_FILES:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def mnist_root() -> Path:
    """The folder that `AUGMENT_DATA` names, where real MNIST lies in it; the test is skipped elsewhere."""
    root = Path(os.environ.get("AUGMENT_DATA", "."))
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.skip("AUGMENT_DATA names no folder with MNIST")
    return root


@pytest.fixture
def striped() -> LabelledImages:
    """60 images of 8x8 in 3 classes that a glance tells apart: horizontal, vertical or no stripes, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int64) % 3
    images = rng.integers(0, 60, (60, 1, 8, 8), dtype=np.uint8)
    images[labels == 0, :, ::2] += 180
    images[labels == 1, :, :, ::2] += 180
    return LabelledImages(
        images=images, labels=labels, rows=np.arange(60, dtype=np.int64), class_names=("rows", "columns", "none")
    )
