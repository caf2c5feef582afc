import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.base.errors import AugmentError, CorruptFileError
from data.decoding import encode_pngs
from data.parquet import read_published, read_subset, read_table, write_published_shard, write_subset


def publish(path, images):
    write_published_shard(
        path,
        encoded=encode_pngs(images.images),
        labels=images.labels,
        names=[f"{row}.png" for row in images.rows],
        class_names=images.class_names,
        extra={"index": pa.array(images.rows)},
    )


def test_subset_round_trip(tmp_path, striped):
    write_subset(tmp_path / "subset.parquet", striped)
    assert read_subset(tmp_path / "subset.parquet").digest() == striped.digest()


def test_groups_survive_the_round_trip(tmp_path, striped):
    grouped = dataclasses.replace(striped, groups=np.arange(60) // 4)
    write_subset(tmp_path / "subset.parquet", grouped)
    assert read_subset(tmp_path / "subset.parquet").digest() == grouped.digest()


def test_published_round_trip(tmp_path, striped):
    publish(tmp_path / "data" / "train-00000-of-00002.parquet", striped.take(np.arange(40)))
    publish(tmp_path / "data" / "train-00001-of-00002.parquet", striped.take(np.arange(40, 60)))
    assert read_published(tmp_path).digest() == striped.digest()


def test_the_schema_tells_hugging_face_what_the_columns_are(tmp_path, striped):
    publish(tmp_path / "x.parquet", striped)
    features = json.loads(pq.read_schema(tmp_path / "x.parquet").metadata[b"huggingface"])["info"]["features"]
    assert features == {
        "image": {"_type": "Image"},
        "label": {"names": ["rows", "columns", "none"], "_type": "ClassLabel"},
        "index": {"dtype": "int64", "_type": "Value"},
    }


@pytest.mark.parametrize("read", [read_table, read_subset])
def test_missing_files(tmp_path, read):
    with pytest.raises(CorruptFileError, match="is missing"):
        read(tmp_path / "none.parquet")


@pytest.mark.parametrize("keep", [0, 3, 500, -1])
def test_truncated_files(tmp_path, striped, keep):
    path = tmp_path / "subset.parquet"
    write_subset(path, striped)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptFileError, match="truncated or not Parquet"):
        read_subset(path)


def test_another_parquet_file_is_no_subset(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(CorruptFileError, match="not a subset file"):
        read_subset(tmp_path / "x.parquet")


def test_no_shards(tmp_path):
    with pytest.raises(CorruptFileError, match=r"no data/\*\.parquet"):
        read_published(tmp_path)


def test_a_published_row_that_is_no_image(tmp_path, striped):
    path = tmp_path / "data" / "train-0.parquet"
    publish(path, striped)
    table = pq.read_table(path)
    broken = pa.array([{"bytes": b"x", "path": ""}] * 60, table.schema.field("image").type)
    pq.write_table(table.set_column(0, table.schema.field("image"), broken), path)
    with pytest.raises(CorruptFileError, match="row 0: the image cannot be decoded"):
        read_published(tmp_path)


def outcome(path):
    """Return the subset, or the message of the one error that is allowed."""
    try:
        return read_subset(path)
    except AugmentError as error:
        return str(error)


@pytest.mark.parametrize("name", [b"image", b"label", b"row"])
def test_a_damaged_name_of_a_column_is_one_clear_error(tmp_path, striped, name):
    path = tmp_path / "subset.parquet"
    write_subset(path, striped)
    path.write_bytes(path.read_bytes().replace(name, b"\xff" + name[1:]))
    with pytest.raises(CorruptFileError, match=r"subset\.parquet"):
        read_subset(path)


def test_a_subset_without_images_is_one_clear_error(tmp_path, striped):
    path = tmp_path / "subset.parquet"
    write_subset(path, striped)
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(CorruptFileError, match="holds no images"):
        read_subset(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_an_altered_subset_gives_a_subset_or_one_clear_error(tmp_path, striped, position, value):
    path = tmp_path / "subset.parquet"
    write_subset(path, striped)
    content = bytearray(path.read_bytes())
    content[position % len(content)] = value
    path.write_bytes(bytes(content))
    result = outcome(path)
    assert str(path) in result if isinstance(result, str) else len(result) > 0
