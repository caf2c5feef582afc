import zipfile

import numpy as np
import pytest

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.limits import LimitError
from data.config import DataConfig
from data.sources import npz as npz_source
from data.sources.npz import load_npz


def images(count, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *(shape or (8, 8))), dtype=np.uint8)


def labels(count):
    return np.arange(count) % 2


def medmnist(path, **changes):
    arrays = {}
    for split, count in (("train", 8), ("val", 4), ("test", 2)):
        arrays[f"{split}_images"] = images(count, seed=count)
        arrays[f"{split}_labels"] = labels(count).astype(np.uint8)[:, None]
    np.savez_compressed(path, **(arrays | changes))
    return path


def load(path, **options):
    return load_npz(path, DataConfig(**options))


def test_medmnist_has_three_splits_and_labels_in_a_column(tmp_path):
    source = load(medmnist(tmp_path / "pneumoniamnist.npz"))
    assert (len(source.train), len(source.test)) == (8, 2)
    assert source.train.labels.tolist() == [0, 1] * 4
    assert np.array_equal(source.train.images[:, 0], images(8, seed=8))
    assert "the validation split (pneumoniamnist.npz val_images (4)) is left out" in source.warning


def test_medmnists_validation_split_can_be_trained_on(tmp_path):
    source = load(medmnist(tmp_path / "x.npz"), validation="train")
    assert len(source.train) == 12
    assert np.array_equal(source.train.images[8:, 0], images(4, seed=4))


@pytest.mark.parametrize(
    "names", [("x_train", "y_train", "x_test", "y_test"), ("X_train", "Y_train", "X_test", "Y_test"),
              ("trainImages", "trainLabels", "testImages", "testLabels"), ("train_x", "train_y", "test_x", "test_y"),
              ("x_tr", "y_tr", "x_te", "y_te"), ("Xtr", "Ytr", "Xte", "Yte")],
)  # fmt: skip
def test_other_names_of_arrays(tmp_path, names):
    arrays = (images(8), labels(8), images(4, seed=1), labels(4))
    np.savez(tmp_path / "x.npz", **dict(zip(names, arrays, strict=True)))
    source = load(tmp_path / "x.npz")
    assert (len(source.train), len(source.test)) == (8, 4)


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("data", "target"), ("X", "y")])
def test_one_split_is_held_out_of(tmp_path, names):
    np.savez(tmp_path / "x.npz", **dict(zip(names, (images(10), labels(10)), strict=True)))
    assert load(tmp_path / "x.npz").held_out


def test_an_array_of_patients_is_shouted_about(tmp_path):
    np.savez(tmp_path / "x.npz", images=images(12), labels=labels(12), patient_ids=np.arange(12) // 3)
    assert "--set data.group_column=patient_ids keeps them together" in load(tmp_path / "x.npz").warning
    assert load(tmp_path / "x.npz", group_column="patient_ids").train.groups is not None


def test_arrays_without_names(tmp_path):
    np.savez(tmp_path / "x.npz", images(10), labels(10))
    assert len(load(tmp_path / "x.npz").train) == 8


def test_files_for_splits(tmp_path):
    for name, count in (("train", 8), ("test", 4)):
        np.savez(tmp_path / f"{name}.npz", images=images(count, seed=count), labels=labels(count))
    source = load(tmp_path)
    assert (len(source.train), len(source.test)) == (8, 4)


def test_names_of_classes_and_groups(tmp_path):
    np.savez(
        tmp_path / "x.npz", images=images(12), labels=labels(12), class_names=["cat", "dog"], patient=np.arange(12) // 2
    )
    source = load(tmp_path / "x.npz", group_column="patient")
    assert source.train.class_names == ("cat", "dog")
    assert not set(source.train.groups) & set(source.test.groups)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3), (3, 8, 8), (1, 8, 8), (64,)])
def test_shapes_of_images(tmp_path, shape):
    np.savez(tmp_path / "x.npz", images=images(10, *shape), labels=labels(10))
    source = load(tmp_path / "x.npz")
    assert source.train.shape == (3 if 3 in shape else 1, 8, 8)


def test_one_hot_labels(tmp_path):
    np.savez(tmp_path / "x.npz", images=images(9), labels=np.eye(3)[np.arange(9) % 3])
    assert load(tmp_path / "x.npz").train.class_names == ("0", "1", "2")


def test_texts_are_labels(tmp_path):
    np.savez(tmp_path / "x.npz", images=images(10), labels=np.array(["b", "a"] * 5))
    assert load(tmp_path / "x.npz").train.class_names == ("a", "b")


@pytest.mark.parametrize(
    ("values", "said"), [(images(10) / 255, "from 0 to 1"), (images(10).astype(np.uint16) * 16, "12 bits")]
)
def test_depth(tmp_path, values, said):
    np.savez(tmp_path / "x.npz", images=values, labels=labels(10))
    source = load(tmp_path / "x.npz")
    assert said in source.warning
    expected = np.rint(images(10).astype(float) * (16 * 255 / 4095 if "bits" in said else 1))
    assert np.array_equal(source.train.images[:, 0], expected[source.train.rows])


@pytest.mark.parametrize("dark", [np.uint8(15), np.uint8(1)])
def test_few_bits_are_shouted_about_with_the_way_out(tmp_path, dark):
    np.savez(tmp_path / "x.npz", images=images(20) % (dark + 1), labels=labels(20))
    bits = int(dark).bit_length()
    if dark == 15:
        assert (
            f"the brightest pixel of all images is 15 of 255 (--set data.bits={bits}"
            in load(tmp_path / "x.npz").warning
        )
    assert load(tmp_path / "x.npz", bits=bits).train.images.max() == 255


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"train_images": images(8, 28, 28, 28)}, AugmentError, r"train_images has the shape \(8, 28, 28, 28\)"),
        ({"train_labels": np.ones((8, 14))}, AugmentError, r"train_labels has the shape \(8, 14\); one label an image"),
        ({"train_labels": labels(7)}, AugmentError, "7 labels for the 8 images of train_images"),
        ({"train_labels": np.full(8, 0.5)}, AugmentError, "train_labels holds numbers that are not whole"),
        ({"train_labels": np.arange(8) - 1}, AugmentError, "row 0: label -1 is negative"),
        (
            {"train_labels": np.array(list(range(8)), object)},
            CorruptFileError,
            "Python objects, which are never loaded",
        ),
        ({"class_names": np.array([1, 2])}, AugmentError, "class_names must be a list of texts"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, changes, error, message):
    path = medmnist(tmp_path / "x.npz", **changes)
    with pytest.raises(error, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"), [("labels", "no images to its labels"), ("bar", "no images and labels by")]
)
def test_no_images(tmp_path, name, message):
    np.savez(tmp_path / "x.npz", **{"foo": images(3), name: labels(3)})
    with pytest.raises(UsageError, match=rf"{message}.*it has foo \(3, 8, 8\), {name} \(3,\)"):
        load(tmp_path / "x.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip"])
def test_damaged_archives(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"x\.npz is truncated or no NumPy archive"):
        load(tmp_path / "x.npz")


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_source, "MAX_DECODED_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(100_000))
    with pytest.raises(LimitError, match="unpacked size in bytes is 100,000"):
        load(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "names", [("Xtrain", "ytrain", "Xtest", "ytest"), ("xs_train", "ys_train", "xs_test", "ys_test")]
)
def test_more_names_that_people_give(tmp_path, names):
    contents = (images(8), labels(8), images(4, seed=1), labels(4))
    np.savez(tmp_path / "x.npz", **dict(zip(names, contents, strict=True)))
    source = load(tmp_path / "x.npz")
    assert (len(source.train), len(source.test)) == (8, 4)


def test_texts_may_be_bytes(tmp_path):
    np.savez(tmp_path / "x.npz", images=images(8), labels=np.array([b"cat", b"dog"] * 4))
    assert load(tmp_path / "x.npz").train.class_names == ("cat", "dog")
    np.savez(tmp_path / "y.npz", images=images(8), labels=np.array([b"\xff", b"dog"] * 4))
    with pytest.raises(AugmentError, match="no UTF-8 text"):
        load(tmp_path / "y.npz")


def test_images_without_labels_are_told(tmp_path):
    np.savez(tmp_path / "x.npz", images=images(8))
    with pytest.raises(UsageError, match="no labels by name; it has images"):
        load(tmp_path / "x.npz")


def test_an_archive_of_other_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(UsageError, match="it has no arrays"):
        load(tmp_path / "x.npz")


def test_a_single_array_is_told(tmp_path):
    np.save(tmp_path / "x.npy", images(8))
    with pytest.raises(CorruptFileError, match="it is a single array"):
        load(tmp_path / "x.npy")
