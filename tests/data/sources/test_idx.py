import gzip
import json

import numpy as np
import pytest

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.config import DataConfig
from data.idx import idx_header, idx_labels, needs_wide_labels
from data.sources.idx import load_idx


def images(count, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *(shape or (8, 8))), dtype=np.uint8)


def write(folder, prefix, count, *, labels=None, shape=(8, 8), suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    values = images(count, *shape, seed=count)
    labels = bytes(row % 2 for row in range(count)) if labels is None else labels
    for name, content in (
        (f"{prefix}images-idx3-ubyte", idx_header(values.shape) + values.tobytes()),
        (f"{prefix}labels-idx1-ubyte", idx_header((len(labels),)) + labels),
    ):
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    return values


def load(path, **options):
    return load_idx(path, DataConfig(**options))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnists_files(tmp_path, suffix):
    values = write(tmp_path, "train-", 8, suffix=suffix)
    write(tmp_path, "t10k-", 4, suffix=suffix)
    source = load(tmp_path)
    assert (len(source.train), len(source.test)) == (8, 4)
    assert np.array_equal(source.train.images[:, 0], values)


def test_a_prefix_chooses_one_of_several_data_sets(tmp_path):
    for name, count in (("letters", 8), ("digits", 6)):
        write(tmp_path, f"emnist-{name}-train-", count)
        write(tmp_path, f"emnist-{name}-test-", 4)
    with pytest.raises(UsageError, match="holds several data sets"):
        load(tmp_path)
    assert len(load(tmp_path / "emnist-digits").train) == 6


def test_colour(tmp_path):
    values = write(tmp_path, "", 8, shape=(8, 8, 3))
    source = load(tmp_path)
    assert np.array_equal(source.train.images, values.transpose(0, 3, 1, 2)[source.train.rows])
    assert source.held_out


def test_class_names_of_an_export_beside(tmp_path):
    write(tmp_path, "train-", 8)
    record = {"class_names": ["cat", "dog"], "class_folders": ["cat", "dog"]}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    assert load(tmp_path).train.class_names == ("cat", "dog")


@pytest.mark.parametrize("record", [[], {}, {"class_names": "ab"}, {"class_names": ["a\nb"], "class_folders": ["a"]}])
def test_other_programs_records_are_passed_over(tmp_path, record):
    write(tmp_path, "train-", 8)
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    assert load(tmp_path).train.class_names == ("0", "1")


def test_labels_of_many_classes_are_wide():
    assert idx_labels(np.array([999]), num_classes=1000).tobytes() == b"\0\0\x03\xe7"
    assert not needs_wide_labels(256)
    assert needs_wide_labels(257)


def test_as_many_labels_as_images(tmp_path):
    write(tmp_path, "train-", 8, labels=bytes(7))
    with pytest.raises(CorruptFileError, match="holds 7 labels for 8 images"):
        load(tmp_path)


def test_images_without_labels(tmp_path):
    write(tmp_path, "train-", 8)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(UsageError, match="has 0 files of labels beside it, train-labels"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_truncated_files(tmp_path, suffix):
    write(tmp_path, "train-", 8, suffix=suffix)
    file = tmp_path / f"train-images-idx3-ubyte{suffix}"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(CorruptFileError, match="truncated or altered"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "nowhere/x"])
def test_nothing_there(tmp_path, name):
    with pytest.raises(AugmentError, match="idx:PATH takes"):
        load(tmp_path / name)
