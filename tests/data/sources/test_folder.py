import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.config import DataConfig
from data.decoding import encode_pngs
from data.sources.folder import load_folder


def put(file, pixels, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)


def noise(number, *shape):
    return np.random.default_rng(number).integers(0, 256, shape or (8, 8), dtype=np.uint8)


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


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, 3)
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "a" / "more.TXT").write_text("x")
    (tmp_path / "a" / ".DS_Store").write_text("x")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    put(tmp_path / "stray.png", noise(9))
    source = load(tmp_path)
    assert len(source.train) + len(source.test) == 6
    assert "5 files were left out: 2 .txt files, " in source.warning
    for reason in (
        "1 dangling links",
        "1 links to a folder that was read already",
        "1 images beside the class folders",
    ):
        assert reason in source.warning


def test_an_unreadable_image_is_named(tmp_path):
    fill(tmp_path / "a", 3)
    fill(tmp_path / "b", 3)
    (tmp_path / "b" / "001.png").write_bytes(b"not an image")
    with pytest.raises(CorruptFileError, match=r"b/001\.png: the image cannot be decoded"):
        load(tmp_path)


def test_all_bad_images_are_counted_and_the_first_are_named(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, 9)
    for number in range(7):
        (tmp_path / "b" / f"00{number}.png").write_bytes(b"not an image")
    with pytest.raises(CorruptFileError, match="7 of 18 images cannot be used") as caught:
        load(tmp_path)
    message = str(caught.value)
    assert all(f"b/00{number}.png" in message for number in range(5))
    assert "b/005.png" not in message
    assert "and 2 more" in message
    assert "--set data.bad_images=leave-out" in message
    assert "\n" not in message


def test_bad_images_can_be_left_out_and_are_listed(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, 9)
    (tmp_path / "b" / "003.png").write_bytes(b"not an image")
    (tmp_path / "b" / "004.png").write_bytes(b"")
    with open(tmp_path / "b" / "005.png", "wb") as stream:
        stream.truncate(10 * 2**30)  # sparse
    source = load(tmp_path, bad_images="leave-out")
    assert len(source.train) + len(source.test) == 15
    assert "3 bad images were left out: b/003.png: the image cannot be decoded" in source.warning
    assert [line.split(":")[0] for line in source.left_out] == [
        str(tmp_path / f"b/00{number}.png") for number in (3, 4, 5)
    ]


def test_a_folder_without_images_is_no_class(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, 3)
    (tmp_path / "annotations").mkdir()
    source = load(tmp_path)
    assert source.train.class_names == ("a", "b")
    assert "folders without an image are no classes: annotations" in source.warning


def test_one_class_and_an_empty_folder(tmp_path):
    fill(tmp_path / "a", 3)
    (tmp_path / "b").mkdir()
    with pytest.raises(AugmentError, match="all lie in one class folder, 'a'"):
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
    fill(tmp_path / "c", 2)
    with pytest.raises(AugmentError, match="control character"):
        load(tmp_path)


def test_a_test_class_without_training_images(tmp_path):
    for place in ("train/a", "train/b", "test/a", "test/z"):
        fill(tmp_path / place, 2)
    with pytest.raises(AugmentError, match="class 'z' of the test split does not occur in the train split"):
        load(tmp_path)


def test_huge_files_are_refused_unread(tmp_path):
    fill(tmp_path / "a", 2)
    fill(tmp_path / "b", 2)
    with open(tmp_path / "a" / "huge.png", "wb") as stream:
        stream.truncate(10 * 2**30)  # sparse
    with pytest.raises(AugmentError, match=r"huge\.png: size in bytes is 10,737,418,240, the limit is"):
        load(tmp_path)


# --- splits


@pytest.mark.parametrize(
    ("train", "test"), [("Train", "Test"), ("training", "TESTING"), ("my_train", "my-test"), ("trn", "tst")]
)
def test_splits_are_found_by_words_in_any_case(tmp_path, train, test):
    for split, count in ((train, 6), (test, 3)):
        for name in ("a", "b"):
            fill(tmp_path / split / name, count)
    source = load(tmp_path)
    assert (len(source.train), len(source.test)) == (12, 6)
    assert source.layout == (
        "folders for splits, class folders below them",
        f"train: {train}/, 2 classes, 12 images",
        f"test: {test}/, 2 classes, 6 images",
    )


def three_splits(root, validation="val"):
    for split, count in (("train", 6), (validation, 3), ("test", 2)):
        for name in ("a", "b"):
            fill(root / split / name, count)


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "dev"])
def test_validation_stands_in_for_a_missing_test_split_and_is_said(tmp_path, name):
    three_splits(tmp_path, name)
    shutil.rmtree(tmp_path / "test")
    source = load(tmp_path)
    assert (len(source.train), len(source.test)) == (12, 6)
    assert not source.held_out
    assert (
        f"there is no test split, so the validation split ({name}/, 2 classes, 6 images) is tested on" in source.warning
    )


@pytest.mark.parametrize(
    ("options", "train", "test", "said"),
    [
        ({}, 12, 4, "the validation split (val/, 2 classes, 6 images) is left out"),
        ({"validation": "train"}, 18, 4, "is trained on"),
        ({"validation": "ignore"}, 12, 4, "is left out"),
        ({"test_split": "ignore"}, 12, 6, "the test split (test/, 2 classes, 4 images) is left out"),
        ({"test_split": "ignore", "validation": "ignore", "test_share": 0.5}, 6, 6, "held out"),
    ],
)
def test_what_each_split_is_for_can_be_said(tmp_path, options, train, test, said):
    three_splits(tmp_path)
    source = load(tmp_path, **options)
    assert (len(source.train), len(source.test)) == (train, test)
    assert said in source.warning


def test_train_alone_is_enough(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / "train" / name, 5)
    (tmp_path / "samples").mkdir()
    source = load(tmp_path)
    assert source.train.class_names == ("a", "b")
    assert source.held_out


def test_test_images_elsewhere(tmp_path):
    for folder, count in (("all", 4), ("other", 2)):
        for name in ("a", "b"):
            fill(tmp_path / folder / name, count)
    source = load(tmp_path / "all", test=str(tmp_path / "other"))
    assert (len(source.train), len(source.test)) == (8, 4)
    assert "test: other/, 2 classes, 4 images" in source.layout


def test_test_images_inside_the_folder_are_not_trained_on(tmp_path):
    for folder in ("fold1/train", "fold1/unseen"):
        for name in ("a", "b"):
            fill(tmp_path / folder / name, 3)
    with pytest.raises(AugmentError, match="looks like a split"):
        load(tmp_path / "fold1")
    source = load(tmp_path / "fold1" / "train", test=str(tmp_path / "fold1" / "unseen"))
    assert (len(source.train), len(source.test)) == (6, 6)


def test_a_wrapping_folder_is_entered(tmp_path):
    three_splits(tmp_path / "mnist_png")
    source = load(tmp_path)
    assert len(source.test) == 4
    assert source.layout[0] == (f"mnist_png/ is the only folder in {tmp_path.name!r} that holds images: it was read")


def test_splits_below_the_classes(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name / "train", 4)
        fill(tmp_path / name / "test", 2)
    source = load(tmp_path)
    assert (len(source.train), len(source.test)) == (8, 4)
    assert source.train.class_names == ("a", "b")
    assert source.layout[0] == "class folders, folders for splits below them"


def test_images_of_splits_without_class_folders_are_refused(tmp_path):
    fill(tmp_path / "train", 4)
    fill(tmp_path / "test", 4)
    with pytest.raises(AugmentError, match="train hold images, but no class folders"):
        load(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train"):
        fill(tmp_path / name, 4)
    assert load(tmp_path).train.class_names == ("bus", "train")


def test_a_folder_beside_splits_that_names_none_is_left_out(tmp_path):
    three_splits(tmp_path)
    fill(tmp_path / "extra" / "a", 2)
    source = load(tmp_path)
    assert "2 images in extra/, which names no split" in source.warning
    assert source.train.class_names == ("a", "b")


# --- below the classes


def test_folders_inside_classes_are_read(tmp_path):
    for name in ("a", "b"):
        for patient in ("p1", "p2", "p10"):
            fill(tmp_path / name / patient, 5)
        fill(tmp_path / name, 2)
    source = load(tmp_path)
    assert len(source.train) + len(source.test) == 34
    assert source.layout[0] == "class folders, with folders inside"
    assert source.train.groups is None


def test_a_level_of_folders_names_the_group(tmp_path):
    for name in ("a", "b"):
        for patient in ("p1", "p2", "p3", "p4", "p5"):
            fill(tmp_path / name / "2024" / patient, 4)
    source = load(tmp_path, group_level=2)
    assert len(set(source.train.groups) | set(source.test.groups)) == 5
    assert not set(source.train.groups) & set(source.test.groups)
    assert "groups: 5" in source.layout


def test_a_level_that_is_not_there_is_refused(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, 4)
    with pytest.raises(UsageError, match=r"no image has a group by data\.group_level=1"):
        load(tmp_path, group_level=1)


def test_classes_are_in_natural_order(tmp_path):
    for name in ("0", "1", "2", "10"):
        fill(tmp_path / name, 3)
    assert load(tmp_path).train.class_names == ("0", "1", "2", "10")


def test_names_that_look_alike_are_one_class(tmp_path):
    for name in ("normal", "normal ", "e\u0301tat", "\u00e9tat"):
        fill(tmp_path / name, 4)
    source = load(tmp_path)
    assert source.train.class_names == ("\u00e9tat", "normal")
    assert "'normal' and 'normal ' are one class" in source.warning


def test_a_spelling_of_the_test_split_alone_is_the_same_class(tmp_path):
    for name in ("normal", "ill"):
        fill(tmp_path / "train" / name, 4)
    fill(tmp_path / "test" / "normal ", 2)
    assert load(tmp_path).test.class_counts().tolist() == [0, 2]


# --- what images are


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".jfif", ".webp", ".bmp", ".gif", ".ppm"])
def test_images_of_every_accepted_suffix(tmp_path, suffix):
    kinds = {".tif": "TIFF", ".tiff": "TIFF", ".jfif": "JPEG", ".gif": "GIF", ".ppm": "PPM"}
    for number in range(4):
        kind = kinds.get(suffix.lower(), suffix[1:].upper())
        put(tmp_path / "ab"[number % 2] / f"{number}{suffix}", noise(number, 8, 8, 3), format=kind)
    source = load(tmp_path)
    assert len(source.train) + len(source.test) == 4


def test_12_bits_are_one_scale_for_the_whole_set(tmp_path):
    ramp = np.linspace(0, 4095, 64).reshape(8, 8).astype(np.uint16)
    for number in range(6):
        put(tmp_path / "ab"[number % 2] / f"{number}.png", ramp // (number + 1))
    source = load(tmp_path)
    tops = sorted([*source.train.images.max((1, 2, 3)).tolist(), *source.test.images.max((1, 2, 3)).tolist()])
    assert tops == sorted(round(4095 // (number + 1) * 255 / 4095) for number in range(6))
    assert "values go up to 4095: read as 12 bits" in source.warning


def ink(root, value):
    for number in range(10):
        shape = np.full((8, 8), 25 * number, np.uint8)
        put(root / "ab"[number % 2] / f"{number}.png", np.dstack([np.full((8, 8, 3), value, np.uint8), shape]))


def test_ink_whose_shape_is_in_alpha_is_seen(tmp_path):
    ink(tmp_path, 0)
    source = load(tmp_path)
    assert len(np.unique(source.train.images)) == len(source.train)
    assert "10 images are transparent in part: they were laid on white (data.alpha_ground)" in source.warning


def test_ink_of_the_grounds_colour_is_refused_with_the_way_out(tmp_path):
    ink(tmp_path, 255)
    with pytest.raises(AugmentError, match=r"all 10 images are one and the same.*--set data\.alpha_ground=black"):
        load(tmp_path)
    assert len(np.unique(load(tmp_path, alpha_ground="black").train.images)) > 5


def test_orientation_comes_before_size(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for number in range(4):
        put(tmp_path / "ab"[number % 2] / f"{number}.jpg", noise(number, 8, 12), exif=exif)
        put(tmp_path / "ab"[number % 2] / f"upright-{number}.jpg", noise(number + 9, 12, 8))
    source = load(tmp_path)
    assert source.train.shape == (1, 12, 8)
    assert "4 images were turned upright" in source.warning


# --- what a person may have meant


def test_git_lfs_pointers_are_named(tmp_path):
    fill(tmp_path / "a", 3)
    fill(tmp_path / "b", 3)
    (tmp_path / "b" / "001.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(CorruptFileError, match="git lfs pull"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("x.npz", "write npz:"),
        ("x.csv", "write csv:"),
        ("x.parquet", "write parquet:"),
        ("images.zip", r"unpack images\.zip"),
    ],
)
def test_another_kind_is_recognised(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"x")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(AugmentError, match=advice):
            load(path)


def test_the_end_of_another_word_is_not_taken_for_the_folder(tmp_path, monkeypatch):
    three_splits(tmp_path / "a")
    fill(tmp_path / "a" / "extra" / "a", 2)
    (tmp_path / "a" / "train" / "a" / "bad.png").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    source = load(Path("a"), bad_images="leave-out")
    assert "2 images in extra/, which names no split" in source.warning
    assert "left out: train/a/bad.png: the image cannot be decoded" in source.warning


def test_nothing_that_is_published_names_a_local_path(tmp_path):
    root = tmp_path / "ward 7" / "surname"
    for number in range(6):
        pixels = noise(number, 8, 8, 3) if number == 5 else noise(number)
        put(root / "ab"[number % 2] / f"{number}.png", pixels)
    (root / "a" / "bad.png").write_bytes(b"x")
    source = load(root, bad_images="leave-out")
    assert source.name == "folder:surname"
    assert "ward 7" not in source.warning + "".join(source.layout)


def test_unlabelled_test_images_beside_train_classes(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / "train" / name, 6)
    fill(tmp_path / "test", 3)
    with pytest.raises(UsageError, match=r"test/ holds images in no class folder.*data\.test_split=ignore"):
        load(tmp_path)
    source = load(tmp_path, test_split="ignore")
    assert len(source.train) + len(source.test) == 12
    assert "3 images in test/, which has no class folders" in source.warning


def test_a_class_with_a_splits_name_is_shouted_about(tmp_path):
    for name in ("a", "b", "test"):
        fill(tmp_path / name, 6)
    assert "FOLDER 'test' WAS READ AS A CLASS" in load(tmp_path).warning


def test_what_all_bad_images_need_is_said_once(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, 4)
    for number in range(2):
        (tmp_path / "a" / f"bad{number}.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(
        CorruptFileError, match=r"2 of 10 images cannot be used.*; fetch the files with `git lfs pull`, or"
    ):
        load(tmp_path)


def test_messages_stay_on_one_line(tmp_path):
    for name in ("a\nb", "b"):
        fill(tmp_path / name, 4)
    with pytest.raises(AugmentError) as told:
        load(tmp_path)
    assert "\n" not in str(told.value)
    assert r"a\nb" in str(told.value)


def test_images_that_are_not_read_are_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.heic").write_bytes(b"x")
    with pytest.raises(AugmentError, match=r"it has 2 \.heic files; convert images of other kinds to PNG"):
        load(tmp_path)


def test_links_in_a_circle_are_counted(tmp_path):
    fill(tmp_path / "a", 4)
    fill(tmp_path / "b", 4)
    (tmp_path / "a/x.png").symlink_to("x.png")
    (tmp_path / "c").symlink_to("c")
    assert "2 files were left out: 2 dangling links" in load(tmp_path).notes


def deep(folder, highest, *, alpha=None):
    """Write 16-bit grey images whose values below `highest` are transparent where they equal the first one's."""
    for number in range(4):
        values = np.random.default_rng(number).integers(0, highest + 1, (8, 8)).astype(np.uint16)
        values[0, :2] = highest, 0
        put(folder / f"{number}.png", values, transparency=alpha)


@pytest.mark.parametrize(("highest", "crushed"), [(1023, True), (255, True), (65535, False), (40000, False)])
def test_a_ground_of_16_bits_crushes_no_images_of_fewer(tmp_path, highest, crushed):
    for name in ("a", "b"):
        deep(tmp_path / name, highest, alpha=0)
    if crushed:
        with pytest.raises(AugmentError, match=rf"values that go up to {highest}; .*alpha_ground=black"):
            load(tmp_path)
    else:
        assert load(tmp_path).train.images.max() == 255
    assert load(tmp_path, alpha_ground="black").train.images.max() > 150


def test_black_ink_of_16_bits_is_seen_on_white(tmp_path):
    for name in ("a", "b"):
        for number in range(4):
            values = np.random.default_rng(number).integers(0, 2, (8, 8)).astype(np.uint16)
            put(tmp_path / name / f"{number}.png", values * np.uint16(65535), transparency=65535)
    images = load(tmp_path).train.images
    assert (images.min(), images.max()) == (0, 255)


def fill_splits(folder, *, wrapped="{}"):
    for split, count in (("train", 6), ("test", 3)):
        for name in ("a", "b"):
            fill(folder / f"seg_{split}" / wrapped.format(f"seg_{split}") / name, count)


@pytest.mark.parametrize("wrapped", ["{}", "images"])
def test_folders_that_wrap_a_whole_split_are_entered(tmp_path, wrapped):
    fill_splits(tmp_path, wrapped=wrapped)
    fill(tmp_path / "seg_pred" / "seg_pred", 2)
    source = load(tmp_path)
    assert source.train.class_names == ("a", "b")
    assert (len(source.train), len(source.test)) == (12, 6)


def test_a_wrapped_split_without_class_folders_has_no_labels(tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / "my_train" / "my_train" / name, 5)
    fill(tmp_path / "my_test" / "my_test", 4)
    with pytest.raises(UsageError, match="my_test/ holds images in no class folder"):
        load(tmp_path)
    assert load(tmp_path, test_split="ignore").train.class_names == ("a", "b")


def test_one_test_class_with_folders_inside_is_no_wrapper(tmp_path):
    for place in ("train/a/p1", "train/b/p2", "test/a/p3"):
        fill(tmp_path / place, 5)
    assert load(tmp_path).test.class_counts().tolist() == [5, 0]


def test_images_beside_the_only_folder_do_not_hide_what_it_holds(tmp_path):
    fill_splits(tmp_path / "data", wrapped="")
    put(tmp_path / "sample.png", noise(0))
    source = load(tmp_path)
    assert (len(source.train), len(source.test)) == (12, 6)
    assert "1 images beside data/" in source.warning


def test_a_whole_data_set_beside_another_folder_is_no_class(tmp_path):
    fill_splits(tmp_path / "data", wrapped="")
    fill(tmp_path / "figures", 1)
    with pytest.raises(AugmentError, match=f"write folder:{tmp_path}/data"):
        load(tmp_path)


def test_classes_that_come_again_in_a_folder_beside_them_are_left_out(tmp_path):
    for name in ("infected", "healthy"):
        fill(tmp_path / name, 6)
        shutil.copytree(tmp_path / name, tmp_path / "cells" / name)
    source = load(tmp_path)
    assert source.train.class_names == ("healthy", "infected")
    assert "12 images in cells/, which holds folders named as the classes beside it" in source.warning


def test_the_same_folders_in_every_class_are_shouted_about(tmp_path):
    for place in ("tr/x", "tr/y", "te/x", "te/y"):
        fill(tmp_path / place, 5)
    assert r"EVERY CLASS FOLDER HOLDS THE SAME FOLDERS (x, y)" in load(tmp_path).warning
    assert "EVERY CLASS" not in load(tmp_path, group_level=1).warning


def test_folders_inside_a_single_class_are_shouted_about(tmp_path):
    for place in ("data/x", "data/y", "figures"):
        fill(tmp_path / place, 5)
    assert "ONLY 'data' HOLDS ITS IMAGES IN FOLDERS INSIDE (x, y)" in load(tmp_path).warning


def test_a_single_class_folder_is_told_as_a_folder(tmp_path):
    fill(tmp_path / "train" / "train", 5)
    with pytest.raises(AugmentError, match="all lie in one class folder, 'train'; give a folder that holds one folder"):
        load(tmp_path)


def test_a_table_of_labels_beside_the_images_is_advised(tmp_path):
    for split in ("train", "test"):
        fill(tmp_path / split, 3)
        (tmp_path / split / "metadata.csv").write_text("file_name,label\n000.png,a\n")
    with pytest.raises(AugmentError, match=f"no class folders; write csv:{tmp_path}"):
        load(tmp_path)


def test_a_test_split_of_other_folders_altogether_is_told(tmp_path):
    for place in ("train/a", "train/b", "val/images"):
        fill(tmp_path / place, 5)
    with pytest.raises(AugmentError, match=r"no class of the test split \('images'\).*data.validation=ignore"):
        load(tmp_path)
    assert load(tmp_path, validation="ignore").held_out
