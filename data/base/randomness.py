"""Named random streams: every consumer of randomness gets its own child of the study's root seed.

A stream depends only on the root seed and its name, so adding a stream never shifts another one, and
cells can be computed in any order or in parallel (numpy.random.SeedSequence, `spawn_key`).
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


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
