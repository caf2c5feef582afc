"""Peak memory of a stage."""

import sys

import numpy as np
import pytest

from data.base.memory import forget_peak_memory, peak_memory_bytes

HUNDRED_MB = 100_000_000


def test_peak_counts_what_was_held_and_given_back() -> None:
    forget_peak_memory()
    before = peak_memory_bytes()
    held = np.ones(HUNDRED_MB, np.uint8)
    del held
    assert peak_memory_bytes() >= before + HUNDRED_MB * 0.9


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_peak_of_an_earlier_stage_is_forgotten() -> None:
    held = np.ones(HUNDRED_MB, np.uint8)
    del held
    high = peak_memory_bytes()
    forget_peak_memory()
    assert peak_memory_bytes() <= high - HUNDRED_MB * 0.5
