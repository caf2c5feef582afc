"""A Prefect server of one's own, for schedules where none is configured: `PREFECT_API_URL` names another one."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from data.errors import AugmentError

START_SECONDS = 120.0


@contextmanager
def prefect_server(*, host: str, port: int) -> Iterator[str]:
    """Run a Prefect server with its user interface while the block runs; yield its API's URL.

    Args:
        host: address to bind to; loopback unless the user says otherwise.
        port: 0 takes a free one.

    Raises:
        AugmentError: the port is taken, or the server does not come up.
    """
    port = _bindable_port(host, port)
    url = f"http://{host}:{port}/api"
    environment = os.environ | {"PREFECT_API_URL": url, "PREFECT_UI_API_URL": url}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_healthy(process, url)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _bindable_port(host: str, port: int) -> int:
    try:
        with socket.create_server((host, port)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise AugmentError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port") from error


def _wait_until_healthy(process: "subprocess.Popen[bytes]", url: str) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise AugmentError(f"the Prefect server ended with exit code {process.returncode} before it was ready")
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AugmentError(f"the Prefect server was not ready after {START_SECONDS:.0f} s")
