"""Where labelled images come from: each source gives a train and a test split with fixed row numbers."""

import gzip
import hashlib
import os
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torchvision.datasets import MNIST

from data.errors import CorruptFileError, SourceUnavailableError, UsageError
from data.files import digest_file, write_bytes
from data.images import LabelledImages

DEFAULT_DATASET = "auto"
GIVE_UP_SECONDS = 10.0  # to find a mirror that answers

# The four uncompressed files of MNIST as LeCun et al. published them, SHA-256.
MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set ready for a study.

    Attributes:
        name: the data set that was really loaded.
        warning: what the reader of a report must know about how it was chosen, or "".
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    warning: str = ""


def cache_directory() -> Path:
    """Return where data sets are looked for and kept: `AUGMENT_DATA`, else the user's cache directory."""
    configured = os.environ.get("AUGMENT_DATA")
    return Path(configured) if configured else Path(platformdirs.user_cache_dir("augmentation-gain"))


def load_source(name: str) -> Source:
    """Load the data set `name`; `auto` is MNIST where it can be had and scikit-learn's digits elsewhere.

    Raises:
        UsageError: no such data set.
        SourceUnavailableError: neither a local copy nor a network.
        CorruptFileError: a local copy differs from the published files.
    """
    if name == DEFAULT_DATASET:
        try:
            return load_mnist(cache_directory())
        except SourceUnavailableError as error:
            digits = load_sklearn_digits()
            warning = f"MNIST is not available, so this study uses scikit-learn's digits (8x8) instead: {error}"
            return Source(name=digits.name, train=digits.train, test=digits.test, warning=warning)
    loaders: dict[str, Callable[[], Source]] = {
        "mnist": lambda: load_mnist(cache_directory()),
        "digits": load_sklearn_digits,
    }
    if name not in loaders:
        raise UsageError(f"unknown dataset {name!r}; known are {', '.join(sorted(loaders))} and {DEFAULT_DATASET}")
    return loaders[name]()


def load_sklearn_digits() -> Source:
    """Load scikit-learn's bundled 8x8 digits: 1,797 images, three tenths held out for testing, always the same ones."""
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]  # (1797, 1, 8, 8)
    labels = bunch.target.astype(np.int64)
    train_rows, test_rows = train_test_split(np.arange(len(labels)), test_size=0.3, stratify=labels, random_state=0)

    def split(rows: npt.NDArray[np.int64]) -> LabelledImages:
        rows = np.sort(rows).astype(np.int64)
        names = tuple(str(name) for name in bunch.target_names)
        return LabelledImages(images=images[rows], labels=labels[rows], rows=rows, class_names=names)

    return Source(name="digits", train=split(train_rows), test=split(test_rows))


def load_mnist(root: Path) -> Source:
    """Load MNIST from `root/MNIST/raw` (torchvision's layout), fetching what is missing.

    Raises:
        SourceUnavailableError: files are missing and no mirror answers.
        CorruptFileError: a file differs from the published one.
    """
    raw = root / "MNIST" / "raw"
    missing = [name for name in MNIST_FILES if not (raw / name).is_file()]
    if missing:
        _fetch_mnist(raw, missing)
    for name, digest in MNIST_FILES.items():
        try:
            intact = digest_file(raw / name) == digest
        except OSError as error:
            raise CorruptFileError(f"cannot read {raw / name}: {error.strerror or error}") from error
        if not intact:
            raise CorruptFileError(
                f"{raw / name} is truncated or altered (its SHA-256 is not the published one); "
                "delete it to have it fetched again, or copy the original there"
            )

    def split(train: bool) -> LabelledImages:
        loaded = MNIST(root, train=train, download=False)
        labels = loaded.targets.numpy().astype(np.int64)
        return LabelledImages(
            images=loaded.data.numpy()[:, None],
            labels=labels,
            rows=np.arange(len(labels), dtype=np.int64),
            class_names=tuple(str(digit) for digit in range(10)),
        )

    return Source(name="mnist", train=split(train=True), test=split(train=False))


def _fetch_mnist(raw: Path, names: list[str]) -> None:
    published = {name.removesuffix(".gz"): md5 for name, md5 in MNIST.resources}
    mirror = _answering_mirror(MNIST.mirrors, f"{names[0]}.gz")
    where = (
        f"put the four *-ubyte files into {raw} (AUGMENT_DATA names the folder above MNIST/), or use --dataset digits"
    )
    if mirror is None:
        raise SourceUnavailableError(f"no copy in {raw} and no mirror answered within {GIVE_UP_SECONDS:.0f} s; {where}")
    for name in names:
        try:
            with urllib.request.urlopen(f"{mirror}{name}.gz", timeout=GIVE_UP_SECONDS) as answer:
                content = answer.read()
        except OSError as error:
            raise SourceUnavailableError(f"fetching {name} failed ({error}); {where}") from error
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != published[name]:
            raise SourceUnavailableError(f"{name} came damaged from its mirror; try again, or {where}")
        write_bytes(raw / name, gzip.decompress(content))


def _answering_mirror(mirrors: list[str], name: str) -> str | None:
    """Return the first mirror that answers within the time limit, whatever hangs (name look-up, connection, server)."""
    found: list[str] = []
    done = threading.Event()
    pending = threading.Semaphore(0)

    def probe(mirror: str) -> None:
        try:
            request = urllib.request.Request(mirror + name, method="HEAD")
            with urllib.request.urlopen(request, timeout=GIVE_UP_SECONDS):
                found.append(mirror)
                done.set()
        except (OSError, ValueError):
            pass
        pending.release()

    def all_failed() -> None:
        for _ in mirrors:
            pending.acquire()
        done.set()

    for mirror in mirrors:
        threading.Thread(target=probe, args=(mirror,), daemon=True).start()
    threading.Thread(target=all_failed, daemon=True).start()
    done.wait(GIVE_UP_SECONDS)
    return found[0] if found else None
