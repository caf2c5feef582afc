"""What every room's tests share: how tests are spread over processes, tiny labelled images, where real MNIST lies."""

import atexit
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Before PyTorch is imported, and for the processes that tests start. Several test processes share few cores, networks
# this small lose by a second thread, and nothing of a user's cache is read or written.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="augment-cache-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

gc.disable()  # until all tests are imported

import hypothesis
import numpy as np
import pytest
import torch

from data.base.plugins import ALLOWED, DIRECTORY, source_digest
from data.images import LabelledImages

hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

WAITING = {"prefect_api", "undisturbed", "augment", "bucket", "browser"}  # servers and whole studies
SLOW_FILES = {
    "test_audit.py",
    "test_augmentation_gain.py",
    "test_coverage.py",
    "test_growing.py",
    "test_own_code.py",
    "test_postgresql.py",
    "test_processes.py",
    "test_server.py",
    "test_training.py",
    "test_verification.py",
    "test_your_classifier.py",
}


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups after this
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, tell which ones stay in one process, and put those that wait longest first.

    A file's tests run in one process, so that its fixtures are made once; a test that is marked `long` goes wherever
    there is room. Long tests begin first, then the files with slow tests: at the end nothing waits for one of them.
    """
    for item in items:
        if WAITING & set(getattr(item, "fixturenames", ())) or item.path.name in SLOW_FILES:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.slow)
        else:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(item.config.rootpath))))
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.get_closest_marker("long") is None, item.path not in slow_files))


def pytest_collection_finish() -> None:
    """Look for garbage from now on, though not among all that was imported: it stays, and there is much of it."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let libraries find at the exit what they want to see cleared away."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """A study that an earlier test ran in this process may have set another number."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run of pytest share; what is made in it needs a lock."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


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


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """Write a user's module into the directory where augment is started; nothing of it is allowed to be loaded yet.

    What was imported from there is forgotten when the test ends.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ALLOWED, raising=False)
    monkeypatch.delenv(DIRECTORY, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(name: str, source: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
        source_digest.cache_clear()
        return file

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    source_digest.cache_clear()
    os.environ.pop(ALLOWED, None)  # what the test allowed itself
    os.environ.pop(DIRECTORY, None)
