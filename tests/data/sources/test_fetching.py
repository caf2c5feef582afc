import hashlib
import socket

import pytest

from data.base.errors import SourceUnavailableError
from data.sources import fetching
from data.sources.fetching import answering, fetch


@pytest.fixture
def published(tmp_path):
    file = tmp_path / "published"
    file.write_bytes(b"content")
    return file


def digest(file):
    return hashlib.md5(file.read_bytes()).hexdigest()


def test_a_fetched_file_has_its_name_and_digest(tmp_path, published):
    fetch([published.as_uri()], tmp_path / "copy", md5=digest(published), advice="")
    assert (tmp_path / "copy").read_bytes() == b"content"


def test_a_file_that_comes_damaged_leaves_nothing(tmp_path, published):
    with pytest.raises(SourceUnavailableError, match=r"came damaged.*or copy it by hand"):
        fetch([published.as_uri()], tmp_path / "in" / "copy", md5="0" * 32, advice="copy it by hand")
    assert list((tmp_path / "in").iterdir()) == []


def test_the_mirror_that_answers_is_taken(tmp_path, published):
    assert answering([(tmp_path / "none").as_uri(), published.as_uri()]) == published.as_uri()


def test_all_refusing_is_noticed_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "GIVE_UP_SECONDS", 1e6)
    assert answering([(tmp_path / "none").as_uri()]) is None


def test_a_silent_server_is_given_up(monkeypatch):
    monkeypatch.setattr(fetching, "GIVE_UP_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert answering([f"http://127.0.0.1:{server.getsockname()[1]}/x"]) is None
