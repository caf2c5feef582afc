import io
import json
import resource
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

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
        ([0, 1, -1, 0] * 3, ["a", "b"], "row 2: label -1 is negative, so the image counts as unlabelled"),
        ([-1, 0, 1] * 4, None, "row 0: label -1 is negative, so the image counts as unlabelled"),
        ([0, 1, None, float("nan")] * 3, None, "row 2: the label is missing"),
        ([[0], [0, 1], [1]] * 4, None, "one label an image is expected"),
        ([0, 1, 0, None] * 3, ["a", "b"], "row 3: the label is missing"),
        (["a", "b", "c", "a"] * 3, ["a", "b"], "row 2: label 'c' is not one of"),
        (["a", "b\nc"] * 6, None, r"row 1: class name 'b\\nc' holds a control character"),
        (["a", ""] * 6, None, "row 1: a class name is empty"),
        ([0.5, 1.0] * 6, None, r"labels such as 0\.5 are no whole numbers"),
        (alternating(), ["a", "a"], "two classes have the same name"),
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
        (pa.array([[[0, 2**40], [2, 3]]] * 12), "row 0: the raw image holds 1099511627776"),
        (pa.array([[["a"], ["b"]]] * 12), "row 0: a raw image must hold numbers"),
        (pa.array([[[0.5, None], [0.1, 0.2]]] * 12), "row 0: the raw image lacks numbers"),
        (pa.array([[[0.5, float("nan")], [0.1, 0.2]]] * 12), "row 0: the raw image holds numbers that are not finite"),
        (pa.array([[1, 2, 3]] * 12), r"row 0: a raw image of shape \(3,\)"),
        (pa.array(["x.png"] * 12), r"row 0: images are of type string.*names of files are opened where"),
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
    with pytest.raises(AugmentError, match="class 'z' of the test split does not occur in the train split"):
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
@pytest.mark.slow
def test_a_repeated_value_is_decoded_in_small_batches(tmp_path, as_dictionary):
    """One 4 MiB value 300 times: 150 KB of file, 1.2 GB of rows."""
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(300, np.int32)), pa.array([bytes(4 * 2**20)]))
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": images, "label": alternating(count=300)}), path, store_schema=as_dictionary)
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


def random_pngs(count, seed=0):
    return encode_pngs(np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8))


def write_split(path, count=6, **options):
    seed = zlib.crc32(str(path).encode())
    return write(path, structs(random_pngs(count, seed)), alternating(count=count), names=["a", "b"], **options)


# --- where files are


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("my_train.parquet", "my_test.parquet"),
        ("Train.parquet", "Test.parquet"),
        ("mnist/train-00000-of-00001.parquet", "mnist/test-00000-of-00001.parquet"),
        ("train/0000.parquet", "test/0000.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
        ("data/train-0.parquet", "data/test-0.parquet"),
        ("set-Training.parquet", "set-Testing.parquet"),
        ("unnamed.parquet", "test.parquet"),
        ("split=train/x.parquet", "split=test/x.parquet"),
    ],
)
def test_splits_are_found_in_names_of_files_and_folders(tmp_path, train, test):
    write_split(tmp_path / train, 8)
    write_split(tmp_path / test, 4)
    source = load(tmp_path)
    assert (len(source.train), len(source.test)) == (8, 4)
    assert source.layout == (f"train: {train}", f"test: {test}")
    assert not source.held_out


@pytest.mark.parametrize("name", ["val", "valid-0", "validation-00000-of-00001", "dev", "my_Val"])
def test_a_validation_file_is_never_trained_on_unasked(tmp_path, name):
    write_split(tmp_path / "train.parquet", 8)
    write_split(tmp_path / f"{name}.parquet", 4)
    source = load(tmp_path)
    assert (len(source.train), len(source.test)) == (8, 4)
    assert f"the validation split ({name}.parquet) is tested on" in source.warning
    assert len(load(tmp_path, validation="train", test_share=0.5).train) == 6


def test_a_file_of_no_split_beside_named_ones_is_left_out_and_said(tmp_path):
    write_split(tmp_path / "train.parquet", 8)
    write_split(tmp_path / "extra.parquet", 4)
    assert "left out, as the names say no split: extra.parquet" in load(tmp_path).warning


def test_several_data_sets_in_one_folder_are_not_mixed(tmp_path):
    for name in ("cats", "dogs"):
        write_split(tmp_path / name / "train.parquet")
    with pytest.raises(UsageError, match=r"holds several data sets \(cats, dogs\); name one"):
        load(tmp_path)


def test_a_pattern_chooses_files(tmp_path):
    for name in ("a-train", "a-test", "b-train"):
        write_split(tmp_path / f"{name}.parquet", 6)
    source = load(tmp_path / "a-*.parquet")
    assert (len(source.train), len(source.test)) == (6, 6)


@pytest.mark.parametrize("named", ["", "*.parquet"])
def test_a_folder_with_the_signs_of_a_pattern_in_its_name(tmp_path, named):
    write_split(tmp_path / "set [1]" / "train.parquet", 6)
    assert len(load(tmp_path / "set [1]" / named).train) > 0


def test_a_pattern_that_is_none_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot look for"):
        load(tmp_path / "**.parquet")


def test_test_images_can_be_named(tmp_path):
    write_split(tmp_path / "fold1.parquet", 8)
    final = write_split(tmp_path / "final.parquet", 4)
    source = load(tmp_path, test=str(final))
    assert (len(source.train), len(source.test)) == (8, 4)
    assert source.layout == ("train: fold1.parquet", "test: final.parquet")


def test_shards_are_read_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9):
        write(tmp_path / f"train-{number}.parquet", structs(random_pngs(2, number)), [number] * 2)
    source = load(tmp_path, test_share=0.5)
    assert source.train.labels.tolist() == [0, 1]


def test_columns_that_folders_stand_for(tmp_path):
    for name in ("cat", "big%20dog"):
        path = tmp_path / f"label={name}" / "part-0.parquet"
        path.parent.mkdir()
        pq.write_table(pa.table({"image": structs(random_pngs(5, len(name)))}), path)
    source = load(tmp_path)
    assert source.train.class_names == ("big dog", "cat")
    assert source.train.class_counts().tolist() == [4, 4]


# --- labels


def test_labels_of_floats_that_are_whole(tmp_path):
    assert load(write(tmp_path / "x.parquet", structs(pngs()), [9.0, 10.0] * 6)).train.class_names == ("9", "10")


def test_labels_in_lists_of_one(tmp_path):
    assert load(write(tmp_path / "x.parquet", structs(pngs()), [[0], [1]] * 6)).train.num_classes == 2


def test_texts_are_classes_in_natural_order(tmp_path):
    path = write(tmp_path / "x.parquet", structs(pngs()), ["c10", "c9", "c1"] * 4)
    assert load(path).train.class_names == ("c1", "c9", "c10")


@pytest.mark.parametrize("label", [-1, None])
def test_unlabelled_rows_can_be_left_out(tmp_path, label):
    source = load(write(tmp_path / "x.parquet", structs(pngs()), [label, 0, 1] * 4), bad_images="leave-out")
    assert len(source.train) + len(source.test) == 8
    assert source.train.class_names == ("0", "1")
    assert "4 bad images were left out: x.parquet, row 0: " in source.warning


@pytest.mark.parametrize("labels", [[-1] * 4, [None] * 4, None])
def test_an_unlabelled_test_split_is_refused_with_the_way_to_ignore_it(tmp_path, labels):
    write(tmp_path / "train.parquet", structs(random_pngs(12)), alternating())
    columns = {"image": structs(random_pngs(4, 1))} | ({} if labels is None else {"label": labels})
    pq.write_table(pa.table(columns), tmp_path / "test.parquet")
    with pytest.raises(UsageError, match=r"none of the 4 test images has a label.*--set data\.test_split=ignore"):
        load(tmp_path)
    for options in ({"test_split": "ignore"}, {"bad_images": "leave-out"}):
        source = load(tmp_path, **options)
        assert source.held_out
        assert "the test split" in source.warning


# --- what Hugging Face and pandas write


def with_features(path, features, labels):
    table = pa.table({"image": structs(pngs()), "label": labels})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path)
    return path


@pytest.mark.parametrize(
    "features",
    [
        {"image": {"_type": "Image"}},
        {},
        {"label": None},
        {"label": {"dtype": "int64", "_type": "Value"}},
        {"label": []},
    ],
)
def test_a_label_that_the_features_do_not_name_is_read(tmp_path, features):
    source = load(with_features(tmp_path / "x.parquet", features, alternating()))
    assert source.train.class_names == ("0", "1")


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"info": {}}', b'{"info": {"features": {"label": {"_type": "ClassLabel"}}}}']
)
def test_metadata_that_cannot_be_read_are_noted(tmp_path, content):
    table = pa.table({"image": structs(pngs()), "label": alternating()}).replace_schema_metadata(
        {"huggingface": content}
    )
    pq.write_table(table, tmp_path / "x.parquet")
    assert "for Hugging Face cannot be read" in load(tmp_path / "x.parquet").warning


def test_names_of_a_sequence_of_labels(tmp_path):
    features = {"label": {"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": ["x", "y"]}}}
    source = load(with_features(tmp_path / "x.parquet", features, [[0], [1]] * 6))
    assert source.train.class_names == ("x", "y")


def test_names_without_an_image_are_dropped_and_said(tmp_path):
    source = load(write(tmp_path / "x.parquet", structs(random_pngs(12)), [0, 2] * 6, names=["a", "b", "c"]))
    assert source.train.class_names == ("a", "c")
    assert source.train.class_counts().tolist() == [5, 5]
    assert "class names without a training image were dropped: 'b'" in source.warning


def test_a_class_of_the_test_split_that_names_only_is_refused(tmp_path):
    write(tmp_path / "train.parquet", structs(pngs()), alternating(), names=["a", "b", "c"])
    write(tmp_path / "test.parquet", structs(pngs(2)), [0, 2], names=["a", "b", "c"])
    with pytest.raises(AugmentError, match="class 'c' of the test split does not occur"):
        load(tmp_path)


def test_names_lost_through_pandas_are_noted(tmp_path):
    import pandas

    path = write(tmp_path / "x.parquet", structs(pngs()), alternating(), names=["a", "b"])
    pandas.read_parquet(path).to_parquet(path)
    assert "classes are called by their numbers" in load(path).warning


def test_views_of_texts_and_bytes(tmp_path):
    images, labels = pa.array(pngs(), pa.binary_view()), pa.array(["a", "b"] * 6, pa.string_view())
    assert load(write(tmp_path / "x.parquet", images, labels)).train.class_names == ("a", "b")


# --- numbers for images


def noisy(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_floats_from_0_to_1(tmp_path):
    values = noisy(NUM_ROWS, 64).astype(np.float32) / 255
    source = load(write(tmp_path / "x.parquet", pa.array(values.tolist(), pa.list_(pa.float32())), alternating()))
    expected = noisy(NUM_ROWS, 64).reshape(-1, 1, 8, 8)
    assert np.array_equal(source.train.images, expected[source.train.rows])
    assert "values from 0 to 1 were scaled to 0 to 255" in source.warning


def test_12_bits(tmp_path):
    values = noisy(NUM_ROWS, 64).astype(np.int64) * 16
    source = load(write(tmp_path / "x.parquet", pa.array(values.tolist()), alternating()))
    assert "read as 12 bits" in source.warning
    assert 250 < source.train.images.max() <= 255


SMOOTH = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8) * 8


@pytest.mark.parametrize("planar", [False, True])
def test_flat_rgb_rows_are_ordered_as_the_images_are_smooth(tmp_path, planar):
    colours = np.stack([np.stack([SMOOTH // (1 + n % 3), 255 - SMOOTH, np.roll(SMOOTH, n)]) for n in range(NUM_ROWS)])
    flat = colours if planar else colours.transpose(0, 2, 3, 1)
    images = pa.array(flat.reshape(NUM_ROWS, -1).tolist(), pa.list_(pa.uint8()))
    source = load(write(tmp_path / "x.parquet", images, alternating()))
    assert np.array_equal(source.train.images, colours[source.train.rows])
    assert f"flat rows were read as RGB, {'plane by plane' if planar else 'pixel by pixel'}" in " ".join(source.layout)


def test_noise_in_flat_rgb_rows_is_taken_pixel_by_pixel(tmp_path):
    images = pa.array(noisy(NUM_ROWS, 16 * 16 * 3).tolist(), pa.list_(pa.uint8()))
    source = load(write(tmp_path / "x.parquet", images, alternating()))
    expected = noisy(NUM_ROWS, 16 * 16 * 3).reshape(-1, 16, 16, 3).transpose(0, 3, 1, 2)
    assert np.array_equal(source.train.images, expected[source.train.rows])


def test_alpha_of_raw_images(tmp_path):
    values = noisy(NUM_ROWS, 8, 8, 4)
    values[..., :3] = 0
    source = load(write(tmp_path / "x.parquet", pa.array(values.tolist()), alternating()))
    expected = np.rint(255 * (1 - values[..., 3] / 255)).astype(np.uint8)
    assert np.array_equal(source.train.images[:, 0], expected[source.train.rows])


# --- groups


def test_a_column_names_the_group(tmp_path):
    table = {"image": structs(random_pngs(24)), "label": alternating(count=24)}
    patients = [f"p{row // 3}" for row in range(23)] + [None]
    pq.write_table(pa.table(table | {"patient": patients}), tmp_path / "x.parquet")
    source = load(tmp_path / "x.parquet", group_column="patient")
    groups = [*source.train.groups, *source.test.groups]
    assert groups.count(-1) == 1
    assert not set(source.train.groups) & set(source.test.groups) - {-1}
    assert "groups: 8" in source.layout


def test_a_group_column_that_is_not_there(tmp_path):
    path = write(tmp_path / "x.parquet", structs(pngs()), alternating())
    with pytest.raises(UsageError, match=r"no single column 'patient'.*--set data\.group_column=NAME"):
        load(path, group_column="patient")


# --- what a person may have meant


def test_a_git_lfs_pointer_is_named(tmp_path):
    (tmp_path / "x.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(CorruptFileError, match="git lfs pull"):
        load(tmp_path / "x.parquet")


@pytest.mark.parametrize(("name", "advice"), [("x.npz", "write npz:"), ("x.csv", "write csv:")])
def test_another_kind_is_recognised(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"x")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(UsageError, match=advice):
            load(path)


def test_images_of_the_test_split_that_are_nearly_in_train_are_counted(tmp_path):
    smooth = np.stack([np.roll(SMOOTH, n, 1) // (1 + n % 5) for n in range(NUM_ROWS)])
    saved = []
    for image in smooth[:3]:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=85)
        saved.append(buffer.getvalue())
    write(tmp_path / "train.parquet", structs(encode_pngs(smooth[:, None])), alternating())
    write(tmp_path / "test.parquet", structs(saved), [0, 1, 0])
    assert "3 test images are nearly the same as a train image" in load(tmp_path).warning


def test_a_column_names_the_splits(tmp_path):
    table = pa.table({"image": pngs(), "label": [0, 1] * 6, "split": ["train"] * 8 + ["test"] * 3 + [None]})
    pq.write_table(table, tmp_path / "x.parquet")
    source = load(tmp_path / "x.parquet", split_column="split")
    assert (len(source.train), len(source.test)) == (8, 3)
    assert "1 rows were left out: column 'split' says nothing" in source.warning
    assert "COLUMN 'split' SEEMS TO NAME SPLITS" in load(tmp_path / "x.parquet").warning


def test_a_column_of_patients_is_shouted_about(tmp_path):
    table = pa.table({"image": pngs(), "label": [0, 1] * 6, "patient": np.arange(12) // 4})
    pq.write_table(table, tmp_path / "x.parquet")
    assert "--set data.group_column=patient keeps them together" in load(tmp_path / "x.parquet").warning


def test_a_split_column_that_is_not_there(tmp_path):
    path = write(tmp_path / "x.parquet", pngs(), alternating())
    with pytest.raises(UsageError, match=r"no single column 'fold'.*data\.split_column=NAME"):
        load(path, split_column="fold")


@pytest.mark.parametrize("as_struct", [False, True])
def test_names_of_files_are_opened_where_their_folder_is_named(tmp_path, as_struct):
    names = [f"{number}.png" for number in range(12)]
    for name, content in zip(names, pngs(), strict=True):
        (tmp_path / name).write_bytes(content)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": None, "path": name} for name in names], kind) if as_struct else names
    pq.write_table(pa.table({"image": images, "label": [0, 1] * 6}), tmp_path / "x.parquet")
    with pytest.raises(AugmentError, match=r"names of files are opened|the image is missing"):
        load(tmp_path / "x.parquet")
    assert len(load(tmp_path / "x.parquet", image_folder=str(tmp_path)).train)


def test_class_names_by_number_as_cards_have_them(tmp_path):
    features = {"label": {"_type": "ClassLabel", "names": {"1": "dog", "0": "cat"}}}
    table = pa.table({"image": pngs(), "label": [0, 1] * 6})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "x.parquet")
    assert load(tmp_path / "x.parquet").train.class_names == ("cat", "dog")


def test_labels_may_be_texts_as_bytes(tmp_path):
    pq.write_table(pa.table({"image": pngs(), "label": pa.array([b"cat", b"dog"] * 6)}), tmp_path / "x.parquet")
    assert load(tmp_path / "x.parquet").train.class_names == ("cat", "dog")
    pq.write_table(pa.table({"image": pngs(), "label": pa.array([b"\xff", b"dog"] * 6)}), tmp_path / "y.parquet")
    with pytest.raises(AugmentError, match="no UTF-8 text"):
        load(tmp_path / "y.parquet")


def test_columns_are_found_in_any_case(tmp_path):
    table = pa.table({"Image": pngs(), "Label": ["cat", "dog"] * 6, "SPLIT": ["train"] * 8 + ["eval"] * 4})
    pq.write_table(table, tmp_path / "x.parquet")
    source = load(tmp_path / "x.parquet", split_column="split")
    assert (len(source.train), len(source.test)) == (8, 4)


def test_a_shard_whose_link_leads_nowhere_is_refused(tmp_path):
    write_split(tmp_path / "train-0.parquet", 6)
    (tmp_path / "train-1.parquet").symlink_to(tmp_path / "blob")
    with pytest.raises(CorruptFileError, match=r"train-1\.parquet is a link that leads nowhere"):
        load(tmp_path)


def test_files_in_deep_folders_are_read(tmp_path):
    for year in (2023, 2024):
        write_split(tmp_path / f"split=train/place=a/year={year}/month=1/day=2/0.parquet", 6)
    (tmp_path / "split=train/again").symlink_to(tmp_path)
    source = load(tmp_path)
    assert len(source.train) + len(source.test) == 12


@pytest.mark.parametrize(
    "other",
    [
        pa.array([*map(float, range(1, 6)), None]),  # as pandas has whole numbers where one is missing
        pa.array([*map(str, range(1, 6)), None]),
    ],
)
def test_a_group_is_the_same_in_files_of_other_types(tmp_path, other):
    for split, groups in (("train", pa.array(range(6))), ("test", other)):
        path = write_split(tmp_path / f"{split}.parquet", 6)
        pq.write_table(pq.read_table(path).append_column("patient", groups), path)
    assert any("5 groups have images in both splits" in note for note in load(tmp_path, group_column="patient").notes)


@pytest.mark.parametrize("kind", [pa.timestamp("us", tz="Mars/Olympus"), pa.timestamp("ms"), pa.date32()])
def test_groups_that_python_has_no_time_for(tmp_path, kind):
    path = write_split(tmp_path / "x.parquet", 6)
    numbers = (
        [2**31 - 1 - row // 2 for row in range(6)] if kind.bit_width == 32 else [2**60 - row // 2 for row in range(6)]
    )
    times = pa.array(numbers, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)
    pq.write_table(pq.read_table(path).append_column("day", times), path)
    assert "groups: 3" in load(path, group_column="day", test_share=0.5).layout


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_the_axes_of_a_tensor_are_put_in_order(tmp_path, axes):
    stored = np.random.default_rng(0).integers(0, 256, (NUM_ROWS, 8, 8, 3), dtype=np.uint8)
    kind = pa.fixed_shape_tensor(pa.uint8(), stored.shape[1:], permutation=axes)
    storage = pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), stored[0].size)
    tensors = pa.FixedShapeTensorArray.from_storage(kind, storage)
    source = load(write(tmp_path / "x.parquet", tensors, alternating()))
    said = stored.transpose(0, *(1 + axis for axis in axes))[source.train.rows]
    assert np.array_equal(source.train.images, said if said.shape[1] == 3 else said.transpose(0, 3, 1, 2))


def test_a_list_without_numbers_is_no_image(tmp_path):
    images = pa.array([list(range(row, row + 64)) for row in range(NUM_ROWS - 1)] + [[]], pa.list_(pa.uint8()))
    path = write(tmp_path / "x.parquet", images, alternating())
    with pytest.raises(AugmentError, match="row 11: a raw image must hold numbers"):
        load(path)
