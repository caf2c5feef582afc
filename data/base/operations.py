"""How much a computation costs, whatever machine it runs on: its floating-point operations."""

from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode


def count_operations(work: Callable[[], object]) -> int:
    """Do `work` and return the floating-point operations of its matrix products and convolutions, backward included."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())
