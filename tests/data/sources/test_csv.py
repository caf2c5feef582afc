import gzip

import numpy as np
import pytest
from PIL import Image

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.config import DataConfig
from data.sources.csv import load_csv


def pixels(count, size=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size), dtype=np.uint8)


def lines(rows, header=None, delimiter=","):
    texts = [delimiter.join(map(str, row)) for row in rows]
    return "\n".join(([delimiter.join(header)] if header else []) + texts) + "\n"


def labelled(values, labels=None):
    labels = [row % 2 for row in range(len(values))] if labels is None else labels
    return [[label, *row] for label, row in zip(labels, values.tolist(), strict=True)]


KAGGLE = ["label", *(f"pixel{number}" for number in range(64))]


def load(path, **options):
    return load_csv(path, DataConfig(**options))


@pytest.mark.parametrize(
    "header", [KAGGLE, None, ["label", *(f"{row}x{column}" for row in range(8) for column in range(8))]]
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_kaggles_table_of_pixels(tmp_path, header, delimiter):
    (tmp_path / "x.csv").write_text(lines(labelled(pixels(20)), header, delimiter))
    source = load(tmp_path / "x.csv")
    assert source.train.class_names == ("0", "1")
    assert np.array_equal(source.train.images.reshape(-1, 64), pixels(20)[source.train.rows])


def test_train_and_test_tables_in_a_folder(tmp_path):
    (tmp_path / "mnist_train.csv").write_text(lines(labelled(pixels(20))))
    (tmp_path / "mnist_test.csv").write_text(lines(labelled(pixels(6, seed=1))))
    source = load(tmp_path)
    assert (len(source.train), len(source.test)) == (20, 6)


def test_kaggles_unlabelled_test_table(tmp_path):
    (tmp_path / "train.csv").write_text(lines(labelled(pixels(20)), KAGGLE))
    (tmp_path / "test.csv").write_text(lines(pixels(6, seed=1).tolist(), KAGGLE[1:]))
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n")
    with pytest.raises(UsageError, match=r"none of the 6 test images has a label.*--set data\.test_split=ignore"):
        load(tmp_path)
    source = load(tmp_path, test_split="ignore")
    assert len(source.train) + len(source.test) == 20
    assert "left out, as the names say no split: sample_submission.csv" in source.warning


def test_a_gzipped_table(tmp_path):
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(lines(labelled(pixels(20)), KAGGLE).encode()))
    assert len(load(tmp_path / "x.csv.gz").train) == 16


@pytest.mark.parametrize("start", ["\ufeff", ""])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_what_excel_writes(tmp_path, start, ending):
    text = start + lines(labelled(pixels(20)), KAGGLE).replace("\n", ending)
    (tmp_path / "x.csv").write_bytes(text.encode())
    assert len(load(tmp_path / "x.csv").train) == 16


def test_floats_from_0_to_1_whose_corners_are_whole(tmp_path):
    values = pixels(20) / 255
    values[:, 0] = 0
    (tmp_path / "x.csv").write_text(lines(labelled(values), KAGGLE))
    source = load(tmp_path / "x.csv")
    assert np.array_equal(source.train.images.reshape(-1, 64)[:, 1:], pixels(20)[source.train.rows][:, 1:])


def test_spaces_around_numbers(tmp_path):
    (tmp_path / "x.csv").write_text(lines(labelled(pixels(20)), KAGGLE, ", "))
    source = load(tmp_path / "x.csv")
    assert np.array_equal(source.train.images.reshape(-1, 64), pixels(20)[source.train.rows])


def test_columns_beside_the_pixels(tmp_path):
    header = ["id", *KAGGLE[1:], "patient", "diagnosis"]
    rows = [[f"{row:03d}", *values, f"p{row // 2}", "ab"[row % 2]] for row, values in enumerate(pixels(20).tolist())]
    (tmp_path / "x.csv").write_text(lines(rows, header))
    source = load(tmp_path / "x.csv", label_column="diagnosis", group_column="patient")
    assert source.train.class_names == ("a", "b")
    assert not set(source.train.groups) & set(source.test.groups)
    assert np.array_equal(source.train.images.reshape(-1, 64), pixels(20)[source.train.rows])


def test_pixels_in_one_text(tmp_path):
    rows = [[row % 2, f'"{" ".join(map(str, values))}"'] for row, values in enumerate(pixels(20).tolist())]
    (tmp_path / "fer.csv").write_text(lines(rows, ["emotion", "pixels"]))
    source = load(tmp_path / "fer.csv", label_column="emotion")
    assert np.array_equal(source.train.images.reshape(-1, 64), pixels(20)[source.train.rows])


@pytest.mark.parametrize("column", ["pixels", "Pixels", "image", "photo"])
@pytest.mark.parametrize("shape", [(64,), (8, 8)])
def test_pixels_as_a_list_in_one_column(tmp_path, column, shape):
    rows = [[row % 2, f'"{values.reshape(shape).tolist()}"', "[1, 2, 3, 4]"] for row, values in enumerate(pixels(20))]
    rows = [[*row[:2], f'"{row[2]}"'] for row in rows]
    (tmp_path / "x.csv").write_text(lines(rows, ["label", column, "box"]))
    source = load(tmp_path / "x.csv", **({"image_column": "photo"} if column == "photo" else {}))
    assert np.array_equal(source.train.images.reshape(-1, 64), pixels(20)[source.train.rows])


def test_numbers_beside_a_files_name_are_no_image(tmp_path):
    table = with_files(tmp_path, [f"{number}.png" for number in range(10)])
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([f"box,{head}", *(f'"[1, 2, 3, 4]",{row}' for row in rows)]) + "\n")
    assert load(table).train.shape == (1, 8, 8)


@pytest.mark.parametrize(
    "bad", ["[1 2 ... 3]", "x y z", "", "[[1, 2], [3]]", pytest.param("[[" + "9" * 400 + "]]", id="huge")]
)
@pytest.mark.parametrize("first", [True, False])
def test_texts_that_are_no_images_are_bad_rows(tmp_path, bad, first):
    rows = [[row % 2, f'"{values.tolist()}"', 30 + row] for row, values in enumerate(pixels(20))]
    rows.insert(0 if first else 9, [1, f'"{bad}"', 5])
    (tmp_path / "x.csv").write_text(lines(rows, ["emotion", "pixels", "age"]))
    with pytest.raises(AugmentError, match=rf"x\.csv, row {0 if first else 9}: "):
        load(tmp_path / "x.csv", label_column="emotion")
    source = load(tmp_path / "x.csv", label_column="emotion", bad_images="leave-out")
    assert (len(source.train) + len(source.test), source.train.shape) == (20, (1, 8, 8))


def test_a_list_may_be_long(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (12, 200, 200))
    rows = [[row % 2, f'"{one.tolist()}"'] for row, one in enumerate(values)]
    (tmp_path / "x.csv").write_text(lines(rows, ["label", "image"]))
    assert load(tmp_path / "x.csv", resize=64).train.shape == (1, 64, 64)


@pytest.mark.parametrize("name", ["12 3", "12 (3)", "2020 01 5", "[1] 3", "(1) [2]"])
def test_names_of_files_that_look_like_numbers(tmp_path, name):
    table = with_files(tmp_path, [f"{name} {number}.png" for number in range(10)], "image")
    table.write_text(table.read_text().replace(".png", ""))
    assert load(table).train.shape == (1, 8, 8)


def test_labels_are_numbers_where_they_read_so(tmp_path):
    (tmp_path / "x.csv").write_text(lines(labelled(pixels(30), ["10", "9", "2.0"] * 10), KAGGLE))
    assert load(tmp_path / "x.csv").train.class_names == ("2", "9", "10")


def test_missing_labels_can_be_left_out(tmp_path):
    (tmp_path / "x.csv").write_text(lines(labelled(pixels(30), ["", "0", "1"] * 10), KAGGLE))
    with pytest.raises(AugmentError, match=r"10 of 30 images cannot be used: x\.csv, row 0: the label is missing"):
        load(tmp_path / "x.csv")
    assert len(load(tmp_path / "x.csv", bad_images="leave-out").train) == 16


def with_files(root, names, column="file_name"):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(1, seed=number).reshape(8, 8)).save(root / name)
    (root / "metadata.csv").write_text(lines([[name, "ab"[n % 2]] for n, name in enumerate(names)], [column, "label"]))
    return root / "metadata.csv"


@pytest.mark.parametrize("column", ["file_name", "image", "path", "photo"])
def test_files_that_a_table_names(tmp_path, column):
    table = with_files(tmp_path, [f"images/{number}.png" for number in range(10)], column)
    options = {"image_column": "photo"} if column == "photo" else {}
    source = load(table, **options)
    assert source.train.class_names == ("a", "b")
    assert np.array_equal(source.train.images[0].ravel(), pixels(1, seed=int(source.train.rows[0]))[0])


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "link/secret.png", ""])
def test_files_outside_of_the_tables_folder_are_not_opened(tmp_path, name):
    folder = tmp_path / "set"
    table = with_files(folder, [f"{number}.png" for number in range(10)])
    Image.fromarray(pixels(1).reshape(8, 8)).save(tmp_path / "secret.png")
    (folder / "link").symlink_to(tmp_path)
    table.write_text(table.read_text() + f"{name},a\n")
    with pytest.raises(AugmentError, match=r"leads out of the folder|the name of the file is missing"):
        load(table)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", CorruptFileError, "it is empty"),
        ("version https://git-lfs.github.com/spec/v1\n", CorruptFileError, "git lfs pull"),
        ("a,b\n1,2\n", UsageError, r"has no column 'label'; it has 'a', 'b': choose with --set data\.label_column"),
        ("label,name\n1,x\n", UsageError, "neither pixels nor names of files"),
        ("label,pixel0,pixel1,pixel2\n1,2,3,4\n0,1,2,3\n", AugmentError, r"a raw image of shape \(3,\)"),
        ("label,pixel0\n1,2\n0,x\n", CorruptFileError, "cannot be read after row 0"),
        ("label,label\n1,2\n", UsageError, "two columns of one name"),
        ("label,pixel0\n1,2\n0,1,5\n", CorruptFileError, "cannot be read after row 0"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, error, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(error, match=message) as caught:
        load(tmp_path / "x.csv")
    assert "x.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x81" * 10)
    with pytest.raises(CorruptFileError, match="no table"):
        load(tmp_path / "x.csv")


def table_of(folder, rows, header="file_name,label"):
    folder.mkdir(exist_ok=True)
    (folder / "x.csv").write_text("\n".join([*([header] if header else []), *rows]) + "\n")
    return folder / "x.csv"


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, values in enumerate(pixels(12)):
        Image.fromarray(values.reshape(8, 8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", ["{folder}/{number}.png", "../images/{number}.png", "{number}.png", "{number}"])
def test_images_in_another_folder(tmp_path, images, name):
    rows = [f"{name.format(folder=images, number=number)},{'ab'[number % 2]}" for number in range(12)]
    source = load(table_of(tmp_path / "tables", rows), image_folder=str(images))
    assert np.array_equal(source.train.images.reshape(-1, 64), pixels(12)[source.train.rows])


def test_what_lies_outside_of_the_images_folder_is_not_opened_nor_published(tmp_path, images):
    rows = [f"{images}/{number}.png,{'ab'[number % 2]}" for number in range(12)]
    other = tmp_path / "private"
    other.mkdir()
    Image.fromarray(pixels(1).reshape(8, 8)).save(other / "x.png")
    table = table_of(tmp_path / "tables", [*rows, f"{other}/x.png,a"])
    source = load(table, image_folder=str(images), bad_images="leave-out")
    assert "leads out of the folder that files are opened in" in source.warning
    assert "private" not in source.warning


def test_names_with_backslashes_and_without_a_line_of_column_names(tmp_path, images):
    rows = [f"images\\{number}.png,{'ab'[number % 2]}" for number in range(12)]
    source = load(table_of(tmp_path, rows, header=""))
    assert source.train.class_names == ("a", "b")


@pytest.mark.parametrize("header", ["File_Name, Label", "FILENAME,LABEL"])
def test_columns_are_found_in_any_case(tmp_path, images, header):
    rows = [f"images/{number}.png, {'ab'[number % 2]}" for number in range(12)]
    assert load(table_of(tmp_path, rows, header=header)).train.class_names == ("a", "b")


SPLITS = ["Train"] * 6 + ["validation"] * 2 + ["PublicTest"] * 4


def test_a_column_names_the_splits(tmp_path, images):
    rows = [f"images/{number}.png,{'ab'[number % 2]},{SPLITS[number]}" for number in range(12)]
    table = table_of(tmp_path, rows, header="file_name,label,usage")
    source = load(table, split_column="Usage")
    assert (len(source.train), len(source.test), source.held_out) == (6, 4, False)
    assert np.array_equal(source.test.images.reshape(-1, 64), pixels(12)[8:])
    assert "validation split (2 rows by column 'Usage') is left out" in source.warning
    assert len(load(table, split_column="Usage", validation="train").train) == 8
    assert "COLUMN 'usage' SEEMS TO NAME SPLITS" in load(table).warning


@pytest.mark.parametrize(("name", "is_test"), [("is_valid", "True"), ("is_train", "no"), ("is_test", "1")])
def test_a_column_of_truth_values_divides(tmp_path, images, name, is_test):
    other = {"True": "False", "no": "yes", "1": "0"}[is_test]
    rows = [f"images/{number}.png,{'ab'[number % 2]},{is_test if number > 7 else other}" for number in range(12)]
    table = table_of(tmp_path, rows, header=f"file_name,label,{name}")
    source = load(table, split_column=name)
    assert (len(source.train), len(source.test), source.held_out) == (8, 4, False)
    assert f"COLUMN {name!r} SEEMS TO NAME SPLITS" in load(table).warning


def test_a_column_of_patients_is_shouted_about(tmp_path, images):
    rows = [f"images/{number}.png,{'ab'[number % 2]},{number // 4}" for number in range(12)]
    table = table_of(tmp_path, rows, header="file_name,label,patient_id")
    assert "--set data.group_column=patient_id keeps them together" in load(table).warning
    assert "patient_id" not in load(table, group_column="patient_id").warning


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["0", "1"], "column 'split' names no split, it has '0', '1'"),
        (["test", "test"], "has nothing to train on"),
        (["", ""], "names no split, it has nothing"),
    ],
)
def test_columns_that_name_no_splits(tmp_path, images, values, message):
    rows = [f"images/{number}.png,{'ab'[number % 2]},{values[number % 2]}" for number in range(12)]
    with pytest.raises(UsageError, match=message):
        load(table_of(tmp_path, rows, header="file_name,label,split"), split_column="split")


def test_labels_that_are_fractions_are_refused(tmp_path, images):
    rows = [f"images/{number}.png,{number % 2}.5" for number in range(12)]
    with pytest.raises(AugmentError, match=r"labels such as 0\.5 are no whole numbers"):
        load(table_of(tmp_path, rows))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"label,pixel0,pixel1\n", "a line of column names and no rows"),
        ("file,label\nx,é\n".encode("latin-1"), "save it as UTF-8"),
        ("label\n1\n".encode("utf-16"), "save it as UTF-8"),
    ],
)
def test_tables_of_other_kinds_are_told(tmp_path, content, message):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(AugmentError, match=message):
        load(tmp_path / "x.csv")


def test_names_of_files_that_no_system_can_look_at_are_bad_images(tmp_path, images):
    (tmp_path / "loop.png").symlink_to("loop.png")
    rows = [f"images/{number}.png,{number % 2}" for number in range(12)]
    source = load(table_of(tmp_path, [*rows, "x" * 300 + ".png,0", "loop.png,1"]), bad_images="leave-out")
    assert len(source.train) + len(source.test) == 12
    assert len(source.left_out) == 2


def test_columns_of_pixels_are_taken_by_their_numbers(tmp_path):
    order = np.argsort([f"pixel{number}" for number in range(64)])  # pixel10 before pixel2
    rows = [[label, *row] for (label, *_), row in zip(labelled(pixels(20)), pixels(20)[:, order].tolist(), strict=True)]
    (tmp_path / "x.csv").write_text(lines(rows, ["label", *(f"pixel{number}" for number in order)]))
    source = load(tmp_path / "x.csv")
    assert np.array_equal(source.train.images.reshape(-1, 64), pixels(20)[source.train.rows])
