"""Peak memory of a stage."""

import sys

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.base.memory import forget_peak_memory, is_lack_of_memory, peak_memory_bytes

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


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_lack_of_memory_is_known_whoever_tells_of_it(error: Exception) -> None:
    assert is_lack_of_memory(error)


def test_pytorch_says_that_the_machine_lacks_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    assert is_lack_of_memory(caught.value)


def test_other_errors_are_no_lack_of_memory() -> None:
    assert not is_lack_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied (64x10 and 12x3)"))
