import gzip
import hashlib
import shutil
import zipfile

import numpy as np
import pytest
from torchvision import datasets

from data.base.errors import CorruptFileError, SourceUnavailableError
from data.idx import idx_header
from data.sources import fetching, mnist_family
from data.sources.mnist_family import FAMILIES, USPS_FILES, Archive, Family, load_family, load_usps


def image_content(count):
    pixels = np.arange(count * 28 * 28, dtype=np.uint8).reshape(count, 28, 28)
    return idx_header(pixels.shape) + pixels.tobytes()


def label_content(labels):
    return idx_header((len(labels),)) + bytes(labels)


def lay_out(root, name, *, labels=(1, 2, 3)):
    family = FAMILIES[name]
    folder = root / family.folder
    folder.mkdir(parents=True)
    for number, file in enumerate(family.files):
        content = label_content(labels) if number % 2 else image_content(len(labels))
        (folder / file).write_bytes(content)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(fetching, "answering", lambda addresses: None)


def test_mnist_is_whole_and_verified(mnist_root):
    source = load_family("mnist", mnist_root)
    assert (len(source.train), len(source.test)) == (60_000, 10_000)
    assert source.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert source.verified


def test_altered_mnist_is_refused(mnist_root, tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    shutil.copytree(mnist_root / "MNIST" / "raw", folder)
    folder.chmod(0o755)
    file = folder / "t10k-labels-idx1-ubyte"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CorruptFileError, match="t10k-labels-idx1-ubyte is truncated or altered"):
        load_family("mnist", tmp_path)


@pytest.mark.parametrize("name", ["fashion-mnist", "kmnist"])
def test_idx_families_load_from_torchvisions_layout(tmp_path, name):
    lay_out(tmp_path, name)
    source = load_family(name, tmp_path)
    assert source.train.labels.tolist() == [1, 2, 3]
    assert source.train.num_classes == 10
    assert source.train.images[0, 0, 0, 1] == 1


def test_emnist_letters_start_at_one_and_are_turned_upright(tmp_path):
    lay_out(tmp_path, "emnist-letters", labels=(1, 26))
    source = load_family("emnist-letters", tmp_path)
    assert [source.train.class_names[label] for label in source.train.labels] == ["a", "z"]
    assert source.train.images[0, 0, 1, 0] == 1


@pytest.mark.parametrize("name", [name for name in FAMILIES if not name.startswith("emnist")])
def test_files_are_those_that_torchvision_fetches(name):
    assert tuple(FAMILIES[name].archives()) == FAMILIES[name].files


def test_class_names_and_files_are_torchvisions():
    assert FAMILIES["fashion-mnist"].class_names == tuple(datasets.FashionMNIST.classes)
    assert FAMILIES["kmnist"].class_names == tuple(datasets.KMNIST.classes)
    assert FAMILIES["emnist-balanced"].class_names == tuple(datasets.EMNIST.classes_split_dict["balanced"])
    assert [file for _, file, _ in datasets.USPS.split_list.values()] == list(USPS_FILES)


def test_qmnist_labels_are_the_first_of_eight_columns(tmp_path):
    folder = lay_out(tmp_path, "qmnist")
    for file in FAMILIES["qmnist"].files[1::2]:
        rows = np.zeros((3, 8), ">i4")
        rows[:, 0] = (7, 8, 9)
        (folder / file).write_bytes(bytes.fromhex("00000c02 00000003 00000008") + rows.tobytes())
    assert load_family("qmnist", tmp_path).train.labels.tolist() == [7, 8, 9]


def test_labels_out_of_range_name_file_and_row(tmp_path):
    lay_out(tmp_path, "kmnist", labels=(1, 10, 3))
    with pytest.raises(CorruptFileError, match=r"train-labels-idx1-ubyte, row 1: label 10"):
        load_family("kmnist", tmp_path)


def test_as_many_labels_as_images(tmp_path):
    folder = lay_out(tmp_path, "kmnist")
    (folder / "train-labels-idx1-ubyte").write_bytes(label_content((1, 2)))
    with pytest.raises(CorruptFileError, match=r"shape \(2,\) for 3 images"):
        load_family("kmnist", tmp_path)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", FAMILIES)
def test_without_copy_or_network_the_error_says_where_to_put_files(tmp_path, name):
    with pytest.raises(SourceUnavailableError, match=r"no mirror answered.*put torchvision's files into"):
        load_family(name, tmp_path)


@pytest.mark.usefixtures("no_network")
def test_usps_without_copy_or_network(tmp_path):
    with pytest.raises(SourceUnavailableError, match="USPS"):
        load_usps(tmp_path)


def test_damaged_usps_is_refused(tmp_path):
    (tmp_path / "USPS").mkdir()
    (tmp_path / "USPS" / "usps.bz2").write_bytes(b"BZh9")
    with pytest.raises(CorruptFileError, match="MD5"):
        load_usps(tmp_path)


def test_missing_files_are_fetched_and_unpacked(tmp_path, monkeypatch):
    """A family whose mirror is a local folder: gzipped files singly, and one zip of gzipped members."""
    published = tmp_path / "mirror"
    published.mkdir()
    names = ("train-i", "train-l", "test-i", "test-l")
    contents = dict(zip(names, [image_content(2), label_content((0, 1))] * 2, strict=True))
    archives = {}
    for name, content in contents.items():
        (published / f"{name}.gz").write_bytes(gzip.compress(content))
        digest = hashlib.md5((published / f"{name}.gz").read_bytes()).hexdigest()
        archives[name] = Archive(addresses=((published / f"{name}.gz").as_uri(),), md5=digest)
    with zipfile.ZipFile(published / "all.zip", "w") as archive:
        for name in names:
            archive.write(published / f"{name}.gz", f"gzip/{name}.gz")
    whole = Archive(
        addresses=((published / "all.zip").as_uri(),),
        md5=hashlib.md5((published / "all.zip").read_bytes()).hexdigest(),
        members={name: f"gzip/{name}.gz" for name in names},
    )
    for folder, listed in (("single", archives), ("zipped", {"*": whole})):
        family = Family(folder=folder, files=names, class_names=("0", "1"), archives=lambda listed=listed: listed)
        monkeypatch.setattr(mnist_family, "FAMILIES", {"new": family})
        assert load_family("new", tmp_path / "here").test.labels.tolist() == [0, 1]
        assert sorted(path.name for path in (tmp_path / "here" / folder).iterdir()) == sorted(names)
