import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.base.errors import CorruptFileError
from evaluation.predictions import Predictions, predictions_on, read_predictions, write_predictions


@pytest.fixture
def some(striped):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), len(striped)).astype(np.float32)
    return predictions_on(striped, probabilities)


def test_predictions_come_back_as_written(tmp_path, some):
    write_predictions(tmp_path / "p.parquet", some)
    again = read_predictions(tmp_path / "p.parquet")
    for name in ("rows", "labels", "probabilities", "predicted"):
        np.testing.assert_array_equal(getattr(again, name), getattr(some, name))


def test_predicted_is_the_most_probable_class():
    probabilities = np.array([[0.2, 0.8], [0.6, 0.4]], np.float32)
    predictions = Predictions(rows=np.arange(2), labels=np.zeros(2, np.int64), probabilities=probabilities)
    assert predictions.predicted.tolist() == [1, 0]


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CorruptFileError, match="missing"):
        read_predictions(tmp_path / "none.parquet")


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 400), flip=st.integers(0, 255))
def test_damaged_file_is_read_or_refused_but_never_crashes(tmp_path_factory, cut, flip):
    path = tmp_path_factory.mktemp("p") / "p.parquet"
    predictions = Predictions(rows=np.arange(4), labels=np.arange(4), probabilities=np.eye(4, dtype=np.float32))
    write_predictions(path, predictions)
    content = bytearray(path.read_bytes())
    content[min(cut, len(content) - 1)] ^= flip
    path.write_bytes(content[: len(content) - cut // 4])
    refused = None
    try:
        rows = read_predictions(path).rows
    except CorruptFileError as error:
        refused = str(error)
    assert str(path) in refused if refused else len(rows) == 4
