"""Named random streams: every consumer of randomness gets its own child of the study's root seed.

A stream depends only on the root seed and its name, so adding a stream never shifts another one, and
cells can be computed in any order or in parallel (numpy.random.SeedSequence, `spawn_key`).
"""

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

_ONE_BORROWER_AT_A_TIME = threading.Lock()  # of what is one for all threads


def child_seed(root_seed: int, *names: str | int) -> int:
    """Return the 63-bit seed of the stream `names` below `root_seed`."""
    text = "/".join(str(name) for name in names)
    key = tuple(int.from_bytes(hashlib.sha256(text.encode()).digest()[i : i + 4], "little") for i in range(0, 16, 4))
    words = np.random.SeedSequence(root_seed, spawn_key=key).generate_state(2, np.uint32)
    return (int(words[0]) | int(words[1]) << 32) & (2**63 - 1)


def numpy_stream(root_seed: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator for the stream `names` below `root_seed`."""
    return np.random.default_rng(child_seed(root_seed, *names))


def torch_stream(root_seed: int, *names: str | int) -> "torch.Generator":
    """Return a CPU torch generator for the stream `names` below `root_seed`."""
    import torch  # reading data takes NumPy's streams alone, and does not wait for torch

    return torch.Generator().manual_seed(child_seed(root_seed, *names))


class GlobalRandomness:
    """The global generators of Python, NumPy and torch, for code that draws from nothing else: the user's own.

    Such code gets a stream of its own all the same: while it runs, the global generators stand where it left them the
    last time, and afterwards where everybody else did. Threads wait for each other meanwhile.
    """

    def __init__(self, seed: int, *, device: str) -> None:
        self._seed = seed
        self._cuda = device == "cuda"
        self._states: tuple[Any, ...] | None = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let the block draw from this stream by the global generators."""
        with _ONE_BORROWER_AT_A_TIME:
            before = self._global_states()
            self._resume()
            try:
                yield
            finally:
                self._states = self._global_states()
                self._set_global_states(before)

    def _resume(self) -> None:
        import torch

        if self._states is not None:
            self._set_global_states(self._states)
            return
        random.seed(self._seed)
        np.random.seed(self._seed % 2**32)
        torch.default_generator.manual_seed(self._seed)
        if self._cuda:
            torch.cuda.manual_seed(self._seed)

    def _global_states(self) -> tuple[Any, ...]:
        import torch

        cuda = torch.cuda.get_rng_state() if self._cuda else None
        return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda

    def _set_global_states(self, states: tuple[Any, ...]) -> None:
        import torch

        python, numpy, cpu, cuda = states
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda)
