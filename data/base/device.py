"""Where and how precisely networks compute: resolved once per run and recorded, never guessed twice."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Literal

from data.base.errors import UsageError

Precision = Literal["auto", "float32", "bfloat16"]
DeviceChoice = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class Compute:
    """A resolved device and autocast precision."""

    device: str
    precision: Literal["float32", "bfloat16"]

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which forward passes run."""
        if self.precision == "float32":
            return nullcontext()
        import torch

        return torch.autocast(self.device, dtype=torch.bfloat16)

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@contextmanager
def threads_kept() -> Iterator[None]:
    """Leave the number of PyTorch's threads, which is the whole process's, as it was before."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def cpu_has_fast_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 matrices in hardware (AMX or AVX512-BF16)."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as stream:
            flags = next((line.split() for line in stream if line.startswith("flags")), [])
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def resolve_compute(*, device: DeviceChoice, precision: Precision) -> Compute:
    """Turn the configured wishes into what this machine offers.

    Raises:
        UsageError: CUDA is asked for and not there.
    """
    import torch  # only where something is computed: a configuration names devices without it

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device 'cuda' was asked for, but torch sees no GPU; leave the device to auto")
    resolved = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if resolved == "cuda" else cpu_has_fast_bfloat16()
        precision = "bfloat16" if fast else "float32"
    return Compute(device=resolved, precision=precision)
