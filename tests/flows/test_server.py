import os
import threading

from prefect.settings import PREFECT_API_URL

from flows.server import api_url_everywhere

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


def test_an_address_from_outside_is_put_back(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with api_url_everywhere(URL):
        pass
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
