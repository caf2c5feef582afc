import io
import json
import resource

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.limits import LimitError
from data.config import DataConfig
from data.decoding import encode_pngs
from data.parquet import IMAGE_TYPE
from data.sources import parquet as parquet_source
from data.sources.parquet import load_parquet

NUM_ROWS = 12


def pngs(count=NUM_ROWS, side=8):
    return encode_pngs(np.arange(count * side * side, dtype=np.uint8).reshape(count, 1, side, side))


def structs(contents):
    return pa.array([{"bytes": content, "path": "/etc/passwd"} for content in contents], IMAGE_TYPE)


def write(path, images, labels, *, names=None, columns=("image", "label")):
    table = pa.table(dict(zip(columns, (images, labels), strict=True)))
    if names is not None:
        features = {columns[0]: {"_type": "Image"}, columns[1]: {"_type": "ClassLabel", "names": names}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def alternating(num_classes=2, count=NUM_ROWS):
    return [row % num_classes for row in range(count)]


def load(path, **options):
    return load_parquet(path, DataConfig(**options))


def test_hugging_face_folder_with_both_splits(tmp_path):
    write(tmp_path / "data" / "train-00000-of-00002.parquet", structs(pngs()), alternating(), names=["cat", "dog"])
    write(tmp_path / "data" / "train-00001-of-00002.parquet", structs(pngs(4)), [1] * 4, names=["cat", "dog"])
    write(tmp_path / "data" / "test-00000-of-00001.parquet", structs(pngs(4)), [0] * 4, names=["cat", "dog"])
    source = load(tmp_path)
    assert source.train.class_counts().tolist() == [6, 10]
    assert source.test.class_counts().tolist() == [4, 0]
    assert source.train.class_names == ("cat", "dog")
    assert "no test image of class 'dog'" in source.warning


def test_pixels_arrive_unchanged(tmp_path):
    path = write(tmp_path / "x.parquet", structs(pngs()), alternating())
    source = load(path)
    expected = np.arange(NUM_ROWS * 64, dtype=np.uint8).reshape(NUM_ROWS, 1, 8, 8)
    assert np.array_equal(source.train.images, expected[source.train.rows])
    assert np.array_equal(source.test.images, expected[source.test.rows])


def test_texts_become_classes_in_order(tmp_path):
    path = write(tmp_path / "x.parquet", pa.array(pngs(), pa.binary()), ["b", "a"] * 6, columns=("photo", "kind"))
    source = load(path, image_column="photo", label_column="kind")
    assert source.train.class_names == ("a", "b")
    assert source.train.labels[0] == (0 if source.train.rows[0] % 2 else 1)


def test_numbers_without_names_become_classes_in_order(tmp_path):
    path = write(tmp_path / "x.parquet", structs(pngs()), [9, 5, 30] * 4)
    assert load(path).train.class_names == ("5", "9", "30")


@pytest.mark.parametrize("kind", ["nested", "colour", "flat", "tensor"])
def test_raw_arrays(tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (NUM_ROWS, 8, 8, 3), dtype=np.uint8)
    plain = pixels[..., 0]
    images = {
        "nested": lambda: pa.array(plain.tolist(), pa.list_(pa.list_(pa.uint8()))),
        "colour": lambda: pa.array(pixels.tolist(), pa.list_(pa.list_(pa.list_(pa.int64())))),
        "flat": lambda: pa.array(plain.reshape(NUM_ROWS, -1).tolist(), pa.list_(pa.uint8(), 64)),
        "tensor": lambda: pa.FixedShapeTensorArray.from_numpy_ndarray(plain.copy()),
    }[kind]()
    source = load(write(tmp_path / "x.parquet", images, alternating()))
    expected = pixels.transpose(0, 3, 1, 2) if kind == "colour" else plain[:, None]
    assert np.array_equal(source.train.images, expected[source.train.rows])


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1, 2, 7] * 3, ["a", "b", "c"], "row 3: label 7 is out of range"),
        ([0, 1, -1, 0] * 3, ["a", "b"], "row 2: label -1 is out of range"),
        ([0, 1, 0, None] * 3, ["a", "b"], "row 3: the label is missing"),
        (["a", "b", "c", "a"] * 3, ["a", "b"], "row 2: label 'c' is not one of"),
        (["a", "b\nc"] * 6, None, r"row 1: class name 'b\\nc' holds a control character"),
        (["a", ""] * 6, None, "row 1: a class name is empty"),
        ([0.5, 1.0] * 6, None, "labels are of type double"),
        (alternating(), ["a", "a"], "two classes have the same name"),
        (alternating(), ["a", "b", "c"], "class 'c' has no image"),
        ([0] * 12, None, "has 1 classes"),
    ],
)
def test_bad_labels_name_file_and_row(tmp_path, labels, names, message):
    path = write(tmp_path / "x.parquet", structs(pngs()), labels, names=names)
    with pytest.raises(AugmentError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (structs([*pngs(11), b"GIF89a"]), "row 11: the image cannot be decoded"),
        (structs([*pngs(5), None, *pngs(6)]), "row 5: the image is missing"),
        (structs([*pngs(11), *pngs(1, side=12)]), "row 11: the image is 12x12"),
        (pa.array([[[0, 1], [2]]] * 12), "row 0: the rows of the raw image differ"),
        (pa.array([[[0, 300], [2, 3]]] * 12), "row 0: a raw image holds 0 to 300"),
        (pa.array([[[0.5, 1.0], [0.1, 0.2]]] * 12), "row 0: a raw image must hold whole numbers"),
        (pa.array([[1, 2, 3]] * 12), r"row 0: a raw image of shape \(3,\)"),
        (pa.array(["x.png"] * 12), "row 0"),
        (pa.array([{"path": "x.png"}] * 12), "a struct with 'bytes' is expected"),
    ],
)
def test_bad_images_name_file_and_row(tmp_path, images, message):
    path = write(tmp_path / "x.parquet", images, alternating())
    with pytest.raises(AugmentError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_paths_in_the_file_are_never_opened(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(pngs(1)[0])
    images = pa.array([{"bytes": None, "path": str(secret)}] * NUM_ROWS, IMAGE_TYPE)
    with pytest.raises(CorruptFileError, match="paths are not followed"):
        load(write(tmp_path / "x.parquet", images, alternating()))


def test_missing_columns_are_listed(tmp_path):
    path = write(tmp_path / "x.parquet", structs(pngs()), alternating(), columns=("photo", "label"))
    with pytest.raises(UsageError, match=r"no single column 'image'; it has 'photo', 'label'.*data\.image_column"):
        load(path)


def test_no_such_path(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        load(tmp_path / "none")


def test_a_folder_without_parquet(tmp_path):
    with pytest.raises(UsageError, match=r"holds no \*\.parquet"):
        load(tmp_path)


def test_shards_must_agree_on_class_names(tmp_path):
    write(tmp_path / "train-0.parquet", structs(pngs()), alternating(), names=["a", "b"])
    write(tmp_path / "train-1.parquet", structs(pngs()), alternating(), names=["b", "a"])
    with pytest.raises(AugmentError, match=r"train-1\.parquet: its class names differ"):
        load(tmp_path)


def test_classes_that_occur_in_the_test_split_only(tmp_path):
    write(tmp_path / "train.parquet", structs(pngs()), ["a", "b"] * 6)
    write(tmp_path / "test.parquet", structs(pngs(2)), ["a", "z"])
    with pytest.raises(AugmentError, match="class 'z' of the test split"):
        load(tmp_path)


def test_too_many_rows_are_refused_by_the_metadata(tmp_path):
    count = 2_000_001
    labels = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array(["a"]))
    path = write(tmp_path / "x.parquet", pa.nulls(count, pa.binary()), labels)
    assert path.stat().st_size < 100_000
    with pytest.raises(LimitError, match="number of rows is 2,000,001, the limit is 2,000,000"):
        load(path)


def test_a_file_that_unpacks_to_too_much_is_refused_by_the_metadata(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_source, "MAX_DECODED_BYTES", 10 * 2**20)
    path = tmp_path / "bomb.parquet"
    table = pa.table({"image": pa.array([bytes(2**20)] * 20), "label": alternating(count=20)})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 20_000
    with pytest.raises(LimitError, match=r"bomb\.parquet: uncompressed size in bytes is 20,.*limit is 10,485,760"):
        load(path)


@pytest.mark.parametrize("as_dictionary", [False, True])
def test_a_repeated_value_is_decoded_in_small_batches(tmp_path, as_dictionary):
    """One 4 MiB value 2,000 times: 150 KB of file, 8 GB of rows."""
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, np.int32)), pa.array([bytes(4 * 2**20)]))
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": images, "label": alternating(count=2000)}), path, store_schema=as_dictionary)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptFileError, match="row 0: the image cannot be decoded"):
        load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # KiB


def intact(tmp_path):
    return write(tmp_path / "x.parquet", structs(pngs()), alternating(), names=["a", "b"])


def outcome(path):
    """Return the source, or the message of the one error that is allowed."""
    try:
        return load(path)
    except AugmentError as error:
        return str(error)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_gives_a_source_or_one_clear_error(tmp_path_factory, data):
    path = intact(tmp_path_factory.mktemp("damaged"))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="truncate"):
        content = content[: data.draw(st.integers(0, len(content)))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    result = outcome(path)
    assert "x.parquet" in result if isinstance(result, str) else len(result.train) > 0


def test_not_parquet_at_all(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(io.BytesIO(b"PAR1" + bytes(100)).getvalue())
    with pytest.raises(CorruptFileError, match="truncated or not Parquet"):
        load(path)
