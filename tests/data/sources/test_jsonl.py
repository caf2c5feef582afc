"""JSON Lines of image files' names and labels, or pixels; as Hugging Face's imagefolder has them, and damaged."""

import gzip
import json

import numpy as np
import pytest
from PIL import Image

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.config import DataConfig
from data.sources.registry import load_source


def load(path, **options):
    return load_source(DataConfig(dataset=f"jsonl:{path}", **options))


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)


def written(path, rows, *, compress=False):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if compress else text.encode())
    return path


def with_files(folder, count=12, column="file_name", **more):
    """A folder in the layout of Hugging Face's imagefolder."""
    rows = []
    for number in range(count):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(100 * len(folder.name) + number)).save(folder / "images" / f"{number}.png")
        rows.append(
            {column: f"images/{number}.png", "label": "ab"[number % 2]} | {k: v[number] for k, v in more.items()}
        )
    return written(folder / "metadata.jsonl", rows)


@pytest.mark.parametrize("column", ["file_name", "image", "path", "photo"])
@pytest.mark.parametrize("as_folder", [False, True])
def test_files_that_the_lines_name(tmp_path, column, as_folder):
    table = with_files(tmp_path, column=column)
    source = load(tmp_path if as_folder else table, **({"image_column": "photo"} if column == "photo" else {}))
    assert source.train.class_names == ("a", "b")
    with Image.open(tmp_path / "images" / f"{source.train.rows[0]}.png") as image:
        assert np.array_equal(source.train.images[0, 0], np.asarray(image))


def test_splits_have_folders_with_lines_of_their_own(tmp_path):
    with_files(tmp_path / "train")
    with_files(tmp_path / "test", count=6)
    source = load(tmp_path)
    assert (len(source.train), len(source.test)) == (12, 6)


def test_split_and_patients_are_columns(tmp_path):
    split = ["train"] * 8 + ["test"] * 4
    source = load(with_files(tmp_path, fold=split, patient=[f"p{n // 2}" for n in range(12)]),
                  split_column="fold", group_column="patient")  # fmt: skip
    assert (len(source.train), len(source.test)) == (8, 4)
    assert len(np.unique(source.train.groups)) == 4


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_pixels_in_the_place_of_a_name(tmp_path, compress, nested):
    rows = [
        {"image": (pixels(n) if nested else pixels(n).ravel()).tolist(), "label": n % 2, "note": None}
        for n in range(20)
    ]
    source = load(written(tmp_path / ("x.jsonl.gz" if compress else "x.ndjson"), rows, compress=compress))
    assert source.train.class_names == ("0", "1")
    assert np.array_equal(source.train.images[0, 0], pixels(int(source.train.rows[0])))


def test_images_without_labels(tmp_path):
    with_files(tmp_path / "labelled")
    rows = [{"image": pixels(1000 + n).tolist()} for n in range(9)]
    source = load(tmp_path / "labelled", unlabelled=f"jsonl:{written(tmp_path / 'more.jsonl', rows)}")
    assert source.unlabelled is not None
    assert len(source.unlabelled.images) == 9


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "link/secret.png"])
def test_files_outside_of_the_folder_are_not_opened(tmp_path, name):
    table = with_files(tmp_path / "set")
    Image.fromarray(pixels(0)).save(tmp_path / "secret.png")
    (tmp_path / "set" / "link").symlink_to(tmp_path)
    table.write_text(table.read_text() + json.dumps({"file_name": name, "label": "a"}) + "\n")
    with pytest.raises(AugmentError, match="leads out of the folder"):
        load(table)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", CorruptFileError, "it is empty"),
        ("version https://git-lfs.github.com/spec/v1\n", CorruptFileError, "git lfs pull"),
        ('{"file_name": "0.png", "label"', CorruptFileError, "truncated or not JSON Lines"),
        ("[1, 2]\n", CorruptFileError, "truncated or not JSON Lines"),
        ('{"name": "x", "label": 1}\n', UsageError, "neither pixels nor names of files; it has 'name', 'label'"),
        ('{"file_name": "x.png", "kind": 1}\n', UsageError, r"no single column 'label'.*data\.label_column"),
        ('{"file_name": "x.png", "label": 1}\n', AugmentError, "there is no file 'x.png'"),
        ('{"file_name": 7, "label": 1}\n', AugmentError, "images are of type int64"),
        ('{"file_name": "x.png", "label": {"a": 1}}\n', AugmentError, "labels are of type struct"),
        ('{"file_name": "x.png", "label": 1}\n{"file_name": 3, "label": 1}\n', CorruptFileError, "not JSON Lines"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, text, error, message):
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(error, match=message) as caught:
        load(tmp_path / "x.jsonl")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_of_lines_is_suggested(tmp_path):
    with_files(tmp_path)
    with pytest.raises(UsageError, match="write jsonl:"):
        load_source(f"csv:{tmp_path}")
