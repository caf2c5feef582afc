"""How much memory a piece of work needs: the peak of the process while it ran, and whether there was enough."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

_LACKING_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "STATUS_ALLOC_FAILED")  # cuBLAS, cuDNN
_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def forget_peak_memory() -> None:
    """Start measuring again from now, where the system can (Linux)."""
    with suppress(OSError):
        _CLEAR_REFS.write_text("5")


def peak_memory_bytes() -> int:
    """Return the most resident memory since `forget_peak_memory`, or since the process began elsewhere."""
    with suppress(OSError, StopIteration):
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def is_lack_of_memory(error: BaseException) -> bool:
    """Tell whether work failed for want of memory: NumPy and Arrow raise MemoryError, PyTorch a RuntimeError."""
    said = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in said for words in _LACKING_WORDS)
    )
