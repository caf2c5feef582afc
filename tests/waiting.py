"""Waiting for something to happen. The end is far: a test tells what happened, never how fast the machine is."""

import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import httpx
import pytest

PATIENCE_SECONDS = 900.0  # a slow machine with much else to do needs a part; below the limit of pyproject.toml
POLL_SECONDS = 0.2
LONGEST_POLL_SECONDS = 2.0
LONG_SHARE = 0.05  # of the time that was waited already: who waits for long need not look often

PATIENT = httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
"""Asks a server of this machine as `httpx.get` and its like do, which give up after 5 s; keeps no connection open."""


def with_own(module: ModuleType, **functions: Callable[..., object]) -> SimpleNamespace:
    """Return `time` or `asyncio` with a test's own functions, for one place that uses it: other threads keep theirs."""
    return SimpleNamespace(**(vars(module) | functions))


def wait_until(happened: Callable[[], object], *, told: Callable[[], str] = str) -> None:
    """Return as soon as `happened` gives something true; fail with what `told` gives where it never does."""
    began = time.monotonic()
    while not happened():
        waited = time.monotonic() - began
        if waited > PATIENCE_SECONDS:
            pytest.fail(f"nothing happened for {PATIENCE_SECONDS:.0f} s\n{told()}")
        time.sleep(max(POLL_SECONDS, min(LONG_SHARE * waited, LONGEST_POLL_SECONDS)))
