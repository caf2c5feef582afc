"""Runs as pages over HTTP, read-only: what links in Prefect's user interface lead to, as a browser opens no `file://`
address from a page on http.

Only files of runs are sent: none whose name begins with a dot, none outside, links followed, and nothing is written.
"""

import mimetypes
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET6
from urllib.parse import quote, unquote, urlsplit

from data.base.errors import AugmentError
from data.base.files import is_below
from evaluation.reporting.history import FILES_OF_A_RUN, history_page
from flows.server import is_loopback, reachable_host
from flows.study.store import RunStore

PAGES_URL, PAGES_OF = "AUGMENT_PAGES_URL", "AUGMENT_PAGES_OF"  # environment variables: where, and of which runs
DEFAULT_PORT = 4201
SHOWN = {".html", ".json", ".md", ".parquet", ".png", ".safetensors", ".toml", ".txt"}  # kinds of files in a run
MOST_PARTS = 12
REQUEST_SECONDS = 30
LOOK_SECONDS = 0.1  # between looks at whether to end
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data: 'self'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class PagesHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the files of one folder of runs; every other method is refused."""

    timeout = REQUEST_SECONDS
    server_version, sys_version = "augment", ""

    def __init__(self, *arguments: object, runs: RunStore, own_names: frozenset[str] | None) -> None:
        self._runs, self._own_names = runs, own_names
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        try:
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
            path = unquote(urlsplit(self.path).path)
        except ValueError:  # such as a bracket that is not closed
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        if self._own_names is not None and host not in self._own_names:  # another site's name that leads here
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        try:
            if path == "/":
                self._send(self._index().encode(), "text/html; charset=utf-8")
            else:
                self._send_file(path.removeprefix("/"))
        except ConnectionError:  # who asked has gone
            self.close_connection = True
        except (AugmentError, OSError, ValueError):
            self.send_error(HTTPStatus.NOT_FOUND)

    def _index(self) -> str:
        with self._runs.copied_runs(*FILES_OF_A_RUN) as directory:
            return history_page(directory)

    def _send_file(self, name: str) -> None:
        parts = name.split("/")
        hidden = any(part.startswith(".") or not part.isprintable() or not part or "\\" in part for part in parts)
        if hidden or len(parts) > MOST_PARTS or Path(name).suffix not in SHOWN:
            raise FileNotFoundError(name)
        with self._runs.fetched(name) as directory:
            file = directory / name
            if not is_below(directory, name) or not file.is_file():
                raise FileNotFoundError(name)
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            text = kind.startswith("text/") or kind == "application/json"
            with open(file, "rb") as stream:
                self._begin(os.fstat(stream.fileno()).st_size, f"{kind}; charset=utf-8" if text else kind)
                if self.command == "GET":
                    shutil.copyfileobj(stream, self.wfile)

    def _send(self, content: bytes, kind: str) -> None:
        self._begin(len(content), kind)
        if self.command == "GET":
            self.wfile.write(content)

    def _begin(self, length: int, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in (HEADERS | {"Content-Type": kind, "Content-Length": str(length)}).items():
            self.send_header(name, value)
        self.end_headers()


class _PagesServer(ThreadingHTTPServer):
    daemon_threads = True


class _PagesServer6(_PagesServer):
    address_family = AF_INET6


@contextmanager
def served_pages(runs: RunStore, *, host: str, port: int | None) -> Iterator[str]:
    """Serve the runs while the block runs, and let links lead there; yield the URL.

    Args:
        port: None takes the usual one, or a free one where it is taken.

    Raises:
        AugmentError: the port is taken.
    """
    names = frozenset({host, reachable_host(host).strip("[]"), "localhost"}) if is_loopback(host) else None
    handler = partial(PagesHandler, runs=runs, own_names=names)
    kind = _PagesServer6 if ":" in host else _PagesServer
    try:
        try:
            server = kind((host, DEFAULT_PORT if port is None else port), handler)
        except OSError:
            if port is not None:
                raise
            server = kind((host, 0), handler)
    except (OSError, UnicodeError) as error:  # a name that no machine can have, too
        where, other = (host, "--host") if port is None else (f"{host}:{port}", "--pages-port")
        raise AugmentError(
            f"cannot listen on {where} ({getattr(error, 'strerror', None) or error}); choose another {other}"
        ) from error
    url = f"http://{reachable_host(host)}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(LOOK_SECONDS,), daemon=True, name="pages")
    thread.start()
    os.environ.update({PAGES_URL: url, PAGES_OF: runs.location})
    try:
        yield url
    finally:
        for name in (PAGES_URL, PAGES_OF):
            os.environ.pop(name, None)
        server.shutdown()
        thread.join()
        server.server_close()


def page_link(run: RunStore, name: str) -> str:
    """Return where a browser finds the file `name` of a run: on the pages of `augment serve`, if it serves the run."""
    url, runs = os.environ.get(PAGES_URL), os.environ.get(PAGES_OF)
    if url and runs and RunStore(runs).child(run.name).location == run.location:
        return f"{url}/{quote(run.name, safe='')}/{quote(name)}"
    return run.link(name)
