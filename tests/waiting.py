"""Waiting for something to happen. The end is far: a test tells what happened, never how fast the machine is."""

import time
from collections.abc import Callable

import pytest

PATIENCE_SECONDS = 900.0  # a slow machine with much else to do needs a part; below the limit of pyproject.toml
POLL_SECONDS = 0.2


def wait_until(happened: Callable[[], object], *, told: Callable[[], str] = str) -> None:
    """Return as soon as `happened` gives something true; fail with what `told` gives where it never does."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > give_up:
            pytest.fail(f"nothing happened for {PATIENCE_SECONDS:.0f} s\n{told()}")
        time.sleep(POLL_SECONDS)
