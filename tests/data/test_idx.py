import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from data.base.errors import AugmentError, CorruptFileError
from data.base.limits import LimitError
from data.idx import idx_header, read_idx


@settings(max_examples=50)
@given(npst.arrays(np.uint8, npst.array_shapes(min_dims=1, max_dims=4, max_side=6)))
def test_round_trip(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(idx_header(array.shape) + array.tobytes())
    assert np.array_equal(read_idx(path), array)


def test_integers_are_big_endian(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(bytes.fromhex("00000c01 00000002 00000001 ffffffff"))
    assert read_idx(path).tolist() == [1, -1]


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\x00", b"\0\0\x09\x01", b"\0\0\x08\x05" + b"\0" * 20])
def test_wrong_magic_numbers_are_named(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="not an IDX file"):
        read_idx(path)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0"])
def test_wrong_length_is_refused(tmp_path, change):
    path = tmp_path / "file"
    path.write_bytes(change(idx_header((3, 2)) + bytes(6)))
    with pytest.raises(CorruptFileError, match="announces 18 bytes"):
        read_idx(path)


def test_a_header_that_announces_too_much_is_refused_unread(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(idx_header((2**31, 2**31)))
    with pytest.raises(LimitError, match="limit is"):
        read_idx(path)


def outcome(path):
    """Return the numbers, or the message of the one error that is allowed."""
    try:
        return read_idx(path)
    except AugmentError as error:
        return str(error)


@settings(max_examples=200)
@given(st.binary(max_size=40))
def test_any_bytes_give_numbers_or_one_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(content)
    result = outcome(path)
    assert str(path) in result if isinstance(result, str) else result.size >= 0
