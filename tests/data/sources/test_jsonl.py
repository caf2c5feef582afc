"""JSON Lines of image files' names and labels, or pixels; as Hugging Face's imagefolder has them, and damaged."""

import gzip
import json

import numpy as np
import pytest
from PIL import Image

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.config import DataConfig
from data.sources.advice import likely_dataset
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


def test_each_table_names_files_of_its_own_folder(tmp_path):
    """Where train and test call their files alike, and where a file of that name lies above them too."""
    for split in ("train", "test"):
        for number in range(12):
            (tmp_path / split).mkdir(exist_ok=True)
            Image.fromarray(pixels(number + 100 * (split == "test"))).save(tmp_path / split / f"{number}.png")
            Image.fromarray(pixels(1000)).save(tmp_path / f"{number}.png")
        written(tmp_path / split / "metadata.jsonl", [{"file_name": f"{n}.png", "label": n % 2} for n in range(12)])
    beside = load(tmp_path / "train" / "metadata.jsonl", test=str(tmp_path / "test" / "metadata.jsonl"))
    for source in (load(tmp_path), beside):
        assert np.array_equal(source.train.images[0, 0], pixels(int(source.train.rows[0])))
        assert np.array_equal(source.test.images[0, 0], pixels(100 + int(source.test.rows[0])))


@pytest.mark.parametrize("labels", [[12345678901234567000, 12345678901234567001], ["2020-01-01", "2021-01-01"]])
def test_labels_stay_what_they_are(tmp_path, labels):
    rows = [{"image": pixels(n).tolist(), "label": labels[n % 2]} for n in range(20)]
    assert load(written(tmp_path / "x.jsonl", rows)).train.class_names == tuple(map(str, labels))


def test_a_bad_row_can_be_left_out(tmp_path):
    rows = [{"image": pixels(n).tolist(), "label": n % 2} for n in range(30)]
    bad = [None, [[1, 2], [3]], {"a": 1}, "none.png", [[["a"]]], True, [[9 ** 999]]]  # fmt: skip
    table = written(tmp_path / "x.jsonl", rows + [{"image": image, "label": 1} for image in bad])
    with pytest.raises(AugmentError, match=r"7 of 37 images cannot be used: x\.jsonl, line 31: the name of the file"):
        load(table)
    source = load(table, bad_images="leave-out")
    assert len(source.train) + len(source.test) == 30


def test_files_named_by_numbers(tmp_path):
    for number in range(12):
        Image.fromarray(pixels(number)).save(tmp_path / f"{number}.png")
    rows = [{"image": {"height": 8}, "id": number, "file_name": number, "label": number % 2} for number in range(12)]
    for row in rows:
        del row["image"]
    source = load(written(tmp_path / "x.jsonl", rows))
    assert np.array_equal(source.train.images[0, 0], pixels(int(source.train.rows[0])))


def deep(levels, around=""):
    return '{"label": 0, ' + around + '"image": ' + "[" * levels + "1" + "]" * levels + "}\n"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", CorruptFileError, "it is empty"),
        ("\n\n", CorruptFileError, "holds no objects"),
        ("version https://git-lfs.github.com/spec/v1\n", CorruptFileError, "git lfs pull"),
        ('{"file_name": "0.png", "label"', CorruptFileError, "line 1, is not JSON: an object a line is expected"),
        ("[1, 2]\n", CorruptFileError, "line 1, is not JSON"),
        ('[\n{"file_name": "0.png"}\n]\n', CorruptFileError, "line 1, is not JSON"),
        ('{"name": "x", "label": 1}\n', UsageError, "neither pixels nor names of files; it has 'name', 'label'"),
        ("{}\n", UsageError, "neither pixels nor names of files; it has nothing"),
        ('{"file_name": "x.png", "kind": 1}\n', UsageError, r"no column 'label'.*data\.label_column"),
        ('{"file_name": "x.png", "label": 1}\n', AugmentError, "there is no file 'x.png'"),
        ('{"file_name": 7, "label": 1}\n', AugmentError, "there is no file '7'"),
        ('{"file_name": "x.png", "label": {"a": 1}}\n', AugmentError, r"line 1: the label is \{'a': 1\}"),
        ('{"file_name": "x.png", "label": 1.5}\n', AugmentError, r"line 1: the label is 1\.5"),
        pytest.param(deep(100), AugmentError, "no list of an image's numbers", id="deep"),
        pytest.param(deep(100_000), CorruptFileError, "line 1, is not JSON", id="abyss"),
        pytest.param(
            deep(1, '"note": ' + "[" * 100_000 + "]" * 100_000 + ", "),
            CorruptFileError,
            "line 1, is not JSON",
            id="abyss beside",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, text, error, message):
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(error, match=message) as caught:
        load(tmp_path / "x.jsonl")
    assert "x.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_text_that_is_no_utf_8_is_one_line(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b'{"file_name": "0.png", "label": "caf\xe9"}\n')
    with pytest.raises(CorruptFileError, match="line 1: no UTF-8 text; save it as UTF-8"):
        load(tmp_path / "x.jsonl")


def test_damaged_gz_is_one_line(tmp_path):
    table = written(
        tmp_path / "x.jsonl.gz", [{"image": pixels(n).tolist(), "label": n % 2} for n in range(20)], compress=True
    )
    table.write_bytes(table.read_bytes()[:-200])
    with pytest.raises(CorruptFileError, match="cannot be read after line"):
        load(table)


def test_a_folder_of_lines_is_suggested(tmp_path):
    with_files(tmp_path)
    with pytest.raises(UsageError, match="write jsonl:"):
        load_source(f"csv:{tmp_path}")


@pytest.mark.parametrize("name", ["metadata.jsonl", "log.jsonl"])
def test_folders_of_classes_are_none(tmp_path, name):
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.fromarray(pixels(0)).save(tmp_path / label / "0.png")
    written(tmp_path / name, [{"step": 1}])
    assert likely_dataset(tmp_path) == f"folder:{tmp_path}"
