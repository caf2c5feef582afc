import os
import socket
import threading

import pytest
from prefect.settings import PREFECT_API_URL

from data.base.errors import AugmentError
from flows.server import api_url_everywhere, prefect_server

URL = "http://127.0.0.1:4321/api"


def seen_by_a_new_thread() -> str | None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(PREFECT_API_URL.value()))
    thread.start()
    thread.join()
    (url,) = seen
    return url


def test_threads_that_copy_no_context_find_the_server(monkeypatch):
    # Prefect's own thread that passes on the events of worker processes is one.
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with api_url_everywhere(URL):
        assert PREFECT_API_URL.value() == URL
        assert seen_by_a_new_thread() == URL
        assert os.environ["PREFECT_API_URL"] == URL
    assert seen_by_a_new_thread() is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_taken_port_is_named_in_either_kind_of_address(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        taken = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with taken:
        port = taken.getsockname()[1]
        refused = pytest.raises(AugmentError, match=f"cannot listen on {host}:{port} .*choose another --port")
        with refused, prefect_server(host=host, port=port):
            pass


def test_an_address_from_outside_is_put_back(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with api_url_everywhere(URL):
        pass
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
