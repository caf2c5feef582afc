import zlib

import numpy as np
import pytest

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.config import DataConfig
from data.decoding import encode_pngs
from data.sources.folder import load_folder


def fill(folder, count, *, side=8, colour=False):
    folder.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(str(folder).encode())
    images = np.random.default_rng(seed).integers(0, 256, (count, 3 if colour else 1, side, side), dtype=np.uint8)
    for number, content in enumerate(encode_pngs(images)):
        (folder / f"{number:03d}.png").write_bytes(content)
    return images


def load(path, **options):
    return load_folder(path, DataConfig(**options))


def test_three_classes_of_colour_images(tmp_path):
    for name in ("cat", "dog", "emu"):
        fill(tmp_path / name, 10, colour=True)
    source = load(tmp_path)
    assert source.train.class_names == ("cat", "dog", "emu")
    assert source.train.class_counts().tolist() == [8, 8, 8]
    assert source.train.shape == (3, 8, 8)
    assert source.held_out


def test_given_splits(tmp_path):
    for split, count in (("train", 6), ("test", 3)):
        for name in ("a", "b"):
            images = fill(tmp_path / split / name, count)
    source = load(tmp_path)
    assert (len(source.train), len(source.test)) == (12, 6)
    assert np.array_equal(source.test.images[3:], images)
    assert source.warning == ""


def test_sizes_are_changed_by_rule_and_recorded(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, 4, side=30)
    source = load(tmp_path)
    assert source.train.shape == (1, 32, 32)
    assert source.resized_from == (30, 30)
    assert "resized from 30x30 to 32x32" in source.warning


def test_a_class_with_a_single_image(tmp_path):
    fill(tmp_path / "many", 10)
    fill(tmp_path / "one", 1)
    source = load(tmp_path)
    assert source.train.class_counts().tolist() == [8, 1]
    assert "no test image of class 'one'" in source.warning


def test_mixed_sizes(tmp_path):
    fill(tmp_path / "a", 3)
    fill(tmp_path / "b", 3, side=12)
    with pytest.raises(AugmentError, match=r"b/000\.png: the image is 12x12"):
        load(tmp_path)
    assert load(tmp_path, resize=16).train.shape == (1, 16, 16)


def test_other_files_are_counted(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, 3)
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "a" / ".DS_Store").write_text("x")
    assert "1 files that are no images were left out" in load(tmp_path).warning


def test_an_unreadable_image_is_named(tmp_path):
    fill(tmp_path / "a", 3)
    fill(tmp_path / "b", 3)
    (tmp_path / "b" / "001.png").write_bytes(b"not an image")
    with pytest.raises(CorruptFileError, match=r"b/001\.png: the image cannot be decoded"):
        load(tmp_path)


def test_an_empty_class_folder(tmp_path):
    fill(tmp_path / "a", 3)
    (tmp_path / "b").mkdir()
    with pytest.raises(AugmentError, match="b holds no"):
        load(tmp_path)


@pytest.mark.parametrize("prepare", [lambda path: None, lambda path: (path / "x.png").write_bytes(b"")])
def test_no_class_folders(tmp_path, prepare):
    prepare(tmp_path)
    with pytest.raises(AugmentError, match="no class folders"):
        load(tmp_path)


def test_no_such_folder(tmp_path):
    with pytest.raises(UsageError, match="is not a folder"):
        load(tmp_path / "none")


def test_a_newline_in_a_name(tmp_path):
    fill(tmp_path / "a\nb", 2)
    with pytest.raises(AugmentError, match="control character"):
        load(tmp_path)


def test_a_test_class_without_training_images(tmp_path):
    fill(tmp_path / "train" / "a", 2)
    fill(tmp_path / "test" / "z", 2)
    with pytest.raises(AugmentError, match="class 'z' has no folder"):
        load(tmp_path)


def test_huge_files_are_refused_unread(tmp_path):
    fill(tmp_path / "a", 2)
    with open(tmp_path / "a" / "huge.png", "wb") as stream:
        stream.truncate(10 * 2**30)  # sparse
    with pytest.raises(AugmentError, match=r"huge\.png: size in bytes is 10,737,418,240, the limit is"):
        load(tmp_path)
