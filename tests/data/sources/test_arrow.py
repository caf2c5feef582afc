import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.config import DataConfig
from data.decoding import encode_pngs
from data.sources.arrow import load_arrow
from data.sources.folder import load_folder
from data.sources.parquet import load_parquet


def images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def datasets():
    import datasets

    datasets.disable_progress_bars()
    return datasets


def hugging_face(datasets, count, seed=0):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "emu"])})
    rows = {
        "image": [{"bytes": content, "path": None} for content in encode_pngs(images(count, seed))],
        "label": [row % 2 for row in range(count)],
    }
    return datasets.Dataset.from_dict(rows, features=features)


def load(path, **options):
    return load_arrow(path, DataConfig(**options))


def test_what_save_to_disk_writes(datasets, tmp_path):
    hugging_face(datasets, 10).save_to_disk(str(tmp_path / "set"), num_shards=2)
    source = load(tmp_path / "set")
    assert len(source.train) + len(source.test) == 10
    assert np.array_equal(source.train.images, images(10, 0)[source.train.rows])
    assert source.train.class_names == ("cat", "dog")
    assert "class names without a training image were dropped: 'emu'" in source.warning


def test_what_save_to_disk_writes_of_several_splits(datasets, tmp_path):
    splits = {"train": hugging_face(datasets, 10), "validation": hugging_face(datasets, 4, 1)}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "set"))
    source = load(tmp_path / "set")
    assert (len(source.train), len(source.test)) == (10, 4)
    assert "the validation split (validation/data-00000-of-00001.arrow) is tested on" in source.warning


@pytest.mark.parametrize("load_other", [load_folder, load_parquet])
def test_other_kinds_say_what_it_is(datasets, tmp_path, load_other):
    hugging_face(datasets, 10).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(AugmentError, match="write arrow:"):
        load_other(tmp_path / "set", DataConfig())


def table():
    return pa.table({"image": encode_pngs(images(10, 0)), "label": [0, 1] * 5})


@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream])
def test_arrow_files_and_streams(tmp_path, new):
    with new(tmp_path / "x.arrow", table().schema) as writer:
        writer.write_table(table())
    assert len(load(tmp_path / "x.arrow").train) == 8


@pytest.mark.parametrize("keep", [0, 5, 200, -100])
@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream])
def test_truncated_files(tmp_path, new, keep):
    path = tmp_path / "x.arrow"
    with new(path, table().schema) as writer:
        writer.write_table(table())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptFileError, match=r"x\.arrow is"):
        load(path)


def outcome(path):
    """Return the source, or the message of the one error that is allowed."""
    try:
        return load(path)
    except AugmentError as error:
        return str(error)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_file_gives_a_source_or_one_clear_error(tmp_path_factory, changes):
    path = tmp_path_factory.mktemp("damaged") / "x.arrow"
    with pa.ipc.new_stream(path, table().schema) as writer:
        writer.write_table(table())
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    path.write_bytes(bytes(content))
    result = outcome(path)
    assert "x.arrow" in result if isinstance(result, str) else len(result.train) > 0


def test_nothing_there(tmp_path):
    with pytest.raises(UsageError, match="arrow:PATH takes what save_to_disk wrote"):
        load(tmp_path)
