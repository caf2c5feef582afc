"""The mode of a network's modules: in training they answer otherwise than afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def as_in_prediction(network: nn.Module) -> Iterator[None]:
    """Let a network in training answer as it will when it is trained: by the statistics it keeps, without dropout.

    Its modules' modes are set and set back, and `train` and `eval`, which may be its own, are not called.
    """
    modes = [(module, module.training) for module in network.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
