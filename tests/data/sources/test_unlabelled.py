"""`data.unlabelled`: every form of a data set gives its images; labels, where there are any, are not looked at."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data.base.errors import CorruptFileError, UsageError
from data.config import DataConfig
from data.decoding import encode_pngs
from data.idx import idx_header
from data.sources.registry import load_source

SIDE = 8


def noise(count, *, side=SIDE, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, 1, side, side), dtype=np.uint8)


@pytest.fixture
def labelled(tmp_path):
    """A labelled data set of two classes, 12 images to train on and 4 to test on, and its location."""
    file = tmp_path / "labelled.npz"
    pixels = noise(16, seed=0)[:, 0]
    np.savez(file, x_train=pixels[:12], y_train=np.arange(12) % 2, x_test=pixels[12:], y_test=np.arange(4) % 2)
    return file


def given(labelled, unlabelled, **options):
    source = load_source(DataConfig(dataset=f"npz:{labelled}", unlabelled=unlabelled, **options))
    assert source.unlabelled is not None
    return source.unlabelled


def folder_of(path, pixels):
    path.mkdir(parents=True)
    for number, content in enumerate(encode_pngs(pixels)):
        (path / f"{number:02d}.png").write_bytes(content)


def in_flat_folder(path, pixels):
    folder_of(path, pixels)
    return f"folder:{path}"


def in_class_folders(path, pixels):
    folder_of(path / "some" / "cats", pixels[:3])
    folder_of(path / "test" / "dogs", pixels[3:])
    return f"folder:{path}"


def in_parquet(path, pixels):
    path.mkdir()
    pq.write_table(pa.table({"image": encode_pngs(pixels)}), path / "train.parquet")
    return f"parquet:{path}"


def in_parquet_with_mad_labels(path, pixels):
    path.mkdir()
    labels = pa.array([None, -7, None, 10**6, 0])
    pq.write_table(pa.table({"image": encode_pngs(pixels), "label": labels}), path / "x.parquet")
    return f"parquet:{path}"


def in_arrow(path, pixels):
    path.mkdir()
    table = pa.table({"image": encode_pngs(pixels)})
    with pa.OSFile(str(path / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    return f"arrow:{path}"


def in_npz_without_labels(path, pixels):
    file = path.with_suffix(".npz")
    np.savez(file, images=pixels[:, 0])
    return f"npz:{file}"


def in_npz_of_one_array(path, pixels):
    file = path.with_suffix(".npz")
    np.savez(file, pixels[:, 0])
    return f"npz:{file}"


def in_npz_with_splits(path, pixels):
    file = path.with_suffix(".npz")
    np.savez(file, train_images=pixels[:2, 0], train_labels=np.array(["?"] * 9), test_images=pixels[2:, 0])
    return f"npz:{file}"


def in_csv(path, pixels):
    file = path.with_suffix(".csv")
    names = ",".join(["label", *(f"pixel{number}" for number in range(SIDE * SIDE))])
    rows = ["," + ",".join(map(str, image.ravel())) for image in pixels]
    file.write_text("\n".join([names, *rows]))
    return f"csv:{file}"


def in_idx_without_labels(path, pixels):
    path.mkdir()
    (path / "train-images-idx3-ubyte").write_bytes(idx_bytes(pixels[:, 0]))
    return f"idx:{path}"


def idx_bytes(array):
    return idx_header(array.shape) + array.tobytes()


FORMS = [
    in_flat_folder,
    in_class_folders,
    in_parquet,
    in_parquet_with_mad_labels,
    in_arrow,
    in_npz_without_labels,
    in_npz_of_one_array,
    in_npz_with_splits,
    in_csv,
    in_idx_without_labels,
]


@pytest.mark.parametrize("form", FORMS)
def test_all_images_are_read_and_no_label(labelled, tmp_path, form):
    pixels = noise(5)
    found = given(labelled, form(tmp_path / "more", pixels))
    assert {image.tobytes() for image in found.images.images} == {image.tobytes() for image in pixels}


def test_images_of_the_data_set_itself_are_left_out_and_counted(labelled, tmp_path):
    own = noise(16, seed=0)
    found = given(labelled, in_flat_folder(tmp_path / "more", np.concatenate([own[:2], own[12:15], noise(5)])))
    assert (len(found.images), found.copies_of_train, found.copies_of_test) == (5, 2, 3)


def test_test_images_that_were_saved_anew_are_told(tmp_path):
    smooth = np.kron(np.random.default_rng(2).integers(40, 216, (16, 8, 8)), np.ones((4, 4))).astype(np.uint8)
    file = tmp_path / "smooth.npz"
    np.savez(file, x_train=smooth[:12], y_train=np.arange(12) % 2, x_test=smooth[12:], y_test=np.arange(4) % 2)
    more = in_flat_folder(tmp_path / "more", smooth[12:14, None] - 20)
    source = load_source(DataConfig(dataset=f"npz:{file}", unlabelled=more))
    assert "2 test images are nearly the same as an image without a label, such as test row" in source.warning
    assert source.notes[-1] in source.warning


def test_nothing_but_own_images_is_refused(labelled):
    with pytest.raises(UsageError, match=r"all 16 images of data.unlabelled are in the data set itself"):
        given(labelled, f"npz:{labelled}")


def test_images_of_another_size_are_resized_to_the_labelled_ones(labelled, tmp_path):
    found = given(labelled, in_flat_folder(tmp_path / "more", noise(5, side=20)))
    assert found.images.shape == (1, SIDE, SIDE)
    assert found.notes == ("images were resized from 20x20 to 8x8 pixels",)


def test_images_of_colour_become_gray_beside_gray_ones(labelled, tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (5, 3, SIDE, SIDE), dtype=np.uint8)
    assert given(labelled, in_flat_folder(tmp_path / "more", pixels)).images.shape == (1, SIDE, SIDE)


def test_named_data_sets_give_the_images_that_they_train_on(labelled):
    assert given(labelled, "digits").name == load_source("digits").name
    assert len(given(labelled, "digits").images) == len(load_source("digits").train)


def test_named_data_sets_of_another_shape_are_refused(tmp_path):
    colour = tmp_path / "colour.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 12, 3), dtype=np.uint8)
    np.savez(colour, x=pixels, y=np.arange(12) % 2)
    with pytest.raises(UsageError, match="are 8x8 grayscale, the labelled ones 12x12 RGB"):
        given(colour, "digits")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("folder:", "names no path"),
        ("folder:nowhere", "is not a folder"),
        ("npz:nowhere.npz", "does not exist"),
        ("idx:nowhere/x", "does not exist"),
        ("nonsense", "unknown dataset 'nonsense'"),
    ],
)
def test_places_that_hold_nothing(labelled, place, words):
    with pytest.raises(UsageError, match=words):
        given(labelled, place)


def test_folders_without_images_are_refused(labelled, tmp_path):
    (tmp_path / "more").mkdir()
    with pytest.raises(UsageError, match="holds no image"):
        given(labelled, f"folder:{tmp_path / 'more'}")


def test_damaged_images_are_refused_or_left_out(labelled, tmp_path):
    place = in_flat_folder(tmp_path / "more", noise(5))
    broken = io.BytesIO()
    Image.fromarray(noise(1)[0, 0]).save(broken, "PNG")
    (tmp_path / "more" / "00.png").write_bytes(broken.getvalue()[:40])
    with pytest.raises(CorruptFileError, match=r"00\.png"):
        given(labelled, place)
    left = given(labelled, place, bad_images="leave-out")
    assert len(left.images) == 4
    assert "1 bad images were left out" in left.notes[0]


def test_the_pool_needs_nothing_to_be_read(labelled):
    assert load_source(DataConfig(dataset=f"npz:{labelled}", unlabelled="pool")).unlabelled is None
