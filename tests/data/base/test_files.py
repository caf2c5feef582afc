import hashlib

import pytest

from data.base.errors import AugmentError, CorruptFileError
from data.base.files import digest_file, digest_json, read_json, write_atomically, write_json, write_text


def test_json_round_trip(tmp_path):
    write_json(tmp_path / "deep" / "x.json", {"a": [1, None]})
    assert read_json(tmp_path / "deep" / "x.json") == {"a": [1, None]}


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_content_and_no_temporary_file(tmp_path):
    path = tmp_path / "x"
    write_text(path, "old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(AugmentError, match="No space left"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AugmentError, match="cannot write"):
        write_text(tmp_path / "file" / "below", "x")


@pytest.mark.parametrize("content", [None, "", "{", '{"a": \xff', '{"a": NaN}', "[" * 20_000])
def test_unreadable_json(tmp_path, content):
    if content is not None:
        (tmp_path / "x.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CorruptFileError, match=r"x\.json"):
        read_json(tmp_path / "x.json")


def test_digests_are_the_published_algorithms(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert digest_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
    assert digest_file(tmp_path / "x", algorithm="md5") == "900150983cd24fb0d6963f7d28e17f72"


def test_the_digest_of_json_ignores_the_order_of_keys():
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})
    assert digest_json({"a": 1}) != digest_json({"a": 2})
