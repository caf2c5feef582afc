"""Tests that run side by side: those of a file stay together, or each process would make its fixtures anew."""

import os

import pytest


def test_tests_of_a_file_run_in_one_process(request: pytest.FixtureRequest) -> None:
    """pytest-xdist tells groups by the names of tests, and says nothing where it cannot."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("nothing runs side by side here")
    assert request.node.nodeid.endswith("@tests/test_side_by_side.py")
