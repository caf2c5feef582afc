"""Steps that repeat thousands of times, without the cost of launching their kernels one by one on a GPU."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from data.device import Compute

_ONE_AT_A_TIME = threading.Lock()  # PyTorch records on one stream, whoever asks
WARM_UP = 3  # calls before the recording, for what libraries set up at their first ones

Result = TypeVar("Result")


class RecordedStep(Generic[Result]):
    """A step that is called with tensors of the same shapes again and again.

    On a GPU its kernels are recorded as a CUDA graph and replayed, several times faster than launching each of small
    networks' kernels from Python; the first `WARM_UP` calls run as written. Elsewhere every call does. So what it does
    must not depend on values on the device, nor on anything in Python that changes from call to call.

    Args:
        step: a function of tensors on the device. Its result must be used before the next call, which overwrites it.
    """

    def __init__(self, step: Callable[..., Result], *, compute: Compute) -> None:
        self._step = step
        self._device = compute.device
        self._calls = 0
        self._inputs: tuple[Tensor, ...] = ()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: Result | None = None

    def __call__(self, *inputs: Tensor) -> Result:
        """Run the step on `inputs`, tensors on the CPU or the device."""
        if self._device != "cuda":
            return self._step(*inputs)
        self._calls += 1
        if self._calls == 1:
            self._inputs = tuple(tensor.to(self._device, copy=True) for tensor in inputs)
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given, non_blocking=True)  # from pageable memory: staged by the driver before it returns
        if self._calls <= WARM_UP:
            return self._on_a_side_stream()
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            # Other cells may be at work in other threads: what they do is neither recorded nor forbidden.
            with _ONE_AT_A_TIME, torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._result = self._step(*self._inputs)
        self._graph.replay()
        assert self._result is not None
        return self._result

    def _on_a_side_stream(self) -> Result:
        """Run as written, where the recording will take place: what autograd sets up at first stays with its stream."""
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            result = self._step(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        return result
