"""The MNIST family by name, in torchvision's file layout; torchvision knows the addresses and published digests.

It is imported only to fetch: reading files that are there takes a twentieth of the time that its import does.
"""

import gzip
import shutil
import string
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.base.errors import AugmentError, CorruptFileError
from data.base.files import digest_file, write_atomically
from data.idx import read_idx
from data.images import LabelledImages
from data.sources.fetching import fetch
from data.sources.source import Source

DIGITS = tuple(string.digits)

# The four uncompressed files of MNIST as LeCun et al. published them, SHA-256.
MNIST_DIGESTS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A published file: where it is fetched, its MD5, and how the family's files lie in it."""

    addresses: tuple[str, ...]
    md5: str
    members: Mapping[str, str] = field(default_factory=dict)  # of a zip: family's file -> gzipped member


Archives = Mapping[str, Archive]
"""By the file that comes of it; "*" holds all."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One data set of the MNIST family.

    Attributes:
        folder: below the data directory, as torchvision lays it out.
        files: images and labels of train, images and labels of test.
        archives: says what to fetch, when something is missing.
        digests: published SHA-256 of the uncompressed files, where there are any.
        first_label: number of the first class in the files.
        transposed: whether the files hold images column by column.
    """

    folder: str
    files: tuple[str, str, str, str]
    class_names: tuple[str, ...]
    archives: Callable[[], Archives]
    digests: Mapping[str, str] = field(default_factory=dict)
    first_label: int = 0
    transposed: bool = False

    def is_present(self, root: Path) -> bool:
        """Tell whether all files lie below `root`."""
        return all((root / self.folder / name).is_file() for name in self.files)


_IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _gzipped(dataset: str, class_names: tuple[str, ...], digests: Mapping[str, str]) -> Family:
    def archives() -> Archives:
        from torchvision import datasets

        published = getattr(datasets, dataset)
        return {
            name.removesuffix(".gz"): Archive(addresses=tuple(mirror + name for mirror in published.mirrors), md5=md5)
            for name, md5 in published.resources
        }

    return Family(
        folder=f"{dataset}/raw", files=_IDX_FILES, class_names=class_names, archives=archives, digests=digests
    )


def _qmnist_archives() -> Archives:
    from torchvision.datasets import QMNIST

    return {
        address.rsplit("/", 1)[1].removesuffix(".gz"): Archive(addresses=(address,), md5=md5)
        for split in ("train", "test")
        for address, md5 in QMNIST.resources[split]
    }


def _emnist(split: str, class_names: tuple[str, ...], first_label: int) -> Family:
    train_images, train_labels, test_images, test_labels = (
        f"emnist-{split}-{part}-{content}"
        for part in ("train", "test")
        for content in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    files = (train_images, train_labels, test_images, test_labels)

    def archives() -> Archives:  # 560 MB for all splits together
        from torchvision.datasets import EMNIST

        members = {name: f"gzip/{name}.gz" for name in files}
        return {"*": Archive(addresses=(EMNIST.url,), md5=EMNIST.md5, members=members)}

    return Family(
        folder="EMNIST/raw",
        files=files,
        class_names=class_names,
        archives=archives,
        first_label=first_label,
        transposed=True,
    )


FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip
KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
BALANCED = (*string.digits, *string.ascii_uppercase, *"abdefghnqrt")  # small letters that differ from capitals

FAMILIES: Mapping[str, Family] = {
    "mnist": _gzipped("MNIST", DIGITS, MNIST_DIGESTS),
    "fashion-mnist": _gzipped("FashionMNIST", FASHION, {}),
    "kmnist": _gzipped("KMNIST", KUZUSHIJI, {}),
    "emnist-letters": _emnist("letters", tuple(string.ascii_lowercase), 1),
    "emnist-balanced": _emnist("balanced", BALANCED, 0),
    "qmnist": Family(
        folder="QMNIST/raw",
        files=(
            "qmnist-train-images-idx3-ubyte",
            "qmnist-train-labels-idx2-int",
            "qmnist-test-images-idx3-ubyte",
            "qmnist-test-labels-idx2-int",
        ),
        class_names=DIGITS,
        archives=_qmnist_archives,
    ),
}


def load_family(name: str, root: Path) -> Source:
    """Load a data set of `FAMILIES` from below `root`, fetching what is missing.

    Raises:
        SourceUnavailableError: files are missing and no mirror answers.
        CorruptFileError: a file differs from the published one, or is damaged.
    """
    family = FAMILIES[name]
    folder = root / family.folder
    if not family.is_present(root):
        _fetch_family(family, folder)
    for file, digest in family.digests.items():
        try:
            intact = digest_file(folder / file) == digest
        except OSError as error:
            raise CorruptFileError(f"cannot read {folder / file}: {error.strerror or error}") from error
        if not intact:
            raise CorruptFileError(
                f"{folder / file} is truncated or altered (its SHA-256 is not the published one); "
                "delete it to have it fetched again, or copy the original there"
            )
    train_images, train_labels, test_images, test_labels = (folder / file for file in family.files)
    return Source(
        name=name,
        train=_split(family, train_images, train_labels),
        test=_split(family, test_images, test_labels),
        verified=bool(family.digests),
    )


def _split(family: Family, images_file: Path, labels_file: Path) -> LabelledImages:
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise CorruptFileError(f"{images_file} holds no grayscale images (shape {images.shape}, {images.dtype})")
    if labels.ndim == 2:  # QMNIST: the class, then where the digit was written
        labels = labels[:, 0]
    if labels.shape != (len(images),):
        raise CorruptFileError(f"{labels_file} holds labels of shape {labels.shape} for {len(images):,} images")
    numbers = labels.astype(np.int64) - family.first_label
    wrong = np.flatnonzero((numbers < 0) | (numbers >= len(family.class_names)))
    if len(wrong):
        raise CorruptFileError(f"{labels_file}, row {wrong[0]}: label {labels[wrong[0]]} is out of range")
    if family.transposed:
        images = images.transpose(0, 2, 1)
    return LabelledImages(
        images=np.ascontiguousarray(images[:, None], np.uint8),
        labels=numbers,
        rows=np.arange(len(numbers), dtype=np.int64),
        class_names=family.class_names,
    )


def _advice(folder: Path) -> str:
    return f"put torchvision's files into {folder} (AUGMENT_DATA names the folder above), or use --dataset digits"


def _fetch_family(family: Family, folder: Path) -> None:
    for name, archive in family.archives().items():
        if name != "*" and (folder / name).is_file():
            continue
        packed = folder / ("all.zip" if name == "*" else f"{name}.gz")
        fetch(archive.addresses, packed, md5=archive.md5, advice=_advice(folder))
        try:
            if name != "*":
                write_atomically(folder / name, partial(_gunzip, packed))
            for file, member in archive.members.items():
                write_atomically(folder / file, partial(_gunzip_member, packed, member))
        except (zipfile.BadZipFile, KeyError, EOFError, zlib.error) as error:
            raise CorruptFileError(f"{packed} cannot be unpacked ({error}); {_advice(folder)}") from error
        finally:
            packed.unlink(missing_ok=True)


def _gunzip(packed: Path, target: Path) -> None:
    with gzip.open(packed) as content, open(target, "wb") as stream:
        shutil.copyfileobj(content, stream)


def _gunzip_member(packed: Path, member: str, target: Path) -> None:
    with (
        zipfile.ZipFile(packed) as archive,
        archive.open(member) as raw,
        gzip.open(raw) as content,
        open(target, "wb") as stream,
    ):
        shutil.copyfileobj(content, stream)


USPS_FILES = ("usps.bz2", "usps.t.bz2")


def usps_is_present(root: Path) -> bool:
    """Tell whether both files of USPS lie below `root`."""
    return all((root / "USPS" / file).is_file() for file in USPS_FILES)


def load_usps(root: Path) -> Source:
    """Load USPS (16x16 digits) from `root/USPS`, fetching what is missing.

    Raises:
        SourceUnavailableError: files are missing and no mirror answers.
        CorruptFileError: a file differs from the published one.
    """
    from torchvision.datasets import USPS

    folder = root / "USPS"

    def split(train: bool) -> LabelledImages:
        address, file, md5 = USPS.split_list["train" if train else "test"]
        if not (folder / file).is_file():
            fetch((address,), folder / file, md5=md5, advice=_advice(folder))
        check_md5(folder / file, md5)
        try:
            loaded = USPS(folder, train=train)
        except (OSError, EOFError, ValueError) as error:
            raise AugmentError(
                f"{folder / file} cannot be read ({error}); delete it to have it fetched again"
            ) from error
        labels: npt.NDArray[np.int64] = np.array(loaded.targets, np.int64)
        return LabelledImages(
            images=loaded.data[:, None],
            labels=labels,
            rows=np.arange(len(labels), dtype=np.int64),
            class_names=DIGITS,
        )

    return Source(name="usps", train=split(train=True), test=split(train=False), verified=True)


def check_md5(path: Path, md5: str) -> None:
    """Compare a file with its published MD5.

    Raises:
        CorruptFileError: it differs or cannot be read.
    """
    try:
        intact = digest_file(path, algorithm="md5") == md5
    except OSError as error:
        raise CorruptFileError(f"cannot read {path}: {error.strerror or error}") from error
    if not intact:
        raise CorruptFileError(f"{path} is truncated or altered (its MD5 is not the published one); delete it")
