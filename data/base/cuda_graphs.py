"""Steps that repeat thousands of times, without the cost of launching their kernels one by one on a GPU."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from data.base.device import Compute

_ONE_RECORDING_AT_A_TIME = threading.Lock()  # in a process: CUDA's libraries allow no more
WARM_UP = 3  # calls before the recording, for what libraries set up at their first ones

Result = TypeVar("Result")


class RecordedStep(Generic[Result]):
    """A step that is called with tensors of the same shapes again and again.

    On a GPU its kernels are recorded as a CUDA graph and replayed: to launch each of small networks' kernels from
    Python takes longer than they take themselves. The first `WARM_UP` calls run as written; elsewhere every call does.
    So what the step does must not depend on values on the device, nor on what changes in Python from call to call.

    Args:
        step: a function of tensors on the device. Its result must be used before the next call, which overwrites it.
            It should not hold the object that holds the recording: what both keep on the device would then outlive
            its use, until Python looks for cycles.

    Raises:
        ValueError: an input of another shape than at the first call.
    """

    def __init__(self, step: Callable[..., Result], *, compute: Compute) -> None:
        self._step = step
        self._device = compute.device
        self._calls = 0
        self._inputs: list[Tensor] = []
        self._results: list[Result] = []  # of the recording: one, which every replay writes to
        self._graph: torch.cuda.CUDAGraph | None = None
        # Warm-up and recording on one stream, where autograd and libraries leave what they set up.
        self._stream = torch.cuda.Stream() if self._device == "cuda" else None  # type: ignore[no-untyped-call]

    def __call__(self, *inputs: Tensor) -> Result:
        """Run the step on `inputs`, tensors on the CPU or the device."""
        if self._stream is None:
            return self._step(*inputs)
        self._calls += 1
        self._take(inputs)
        if self._calls <= WARM_UP:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                result = self._step(*self._inputs)
            torch.cuda.current_stream().wait_stream(self._stream)
            return result
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            # Other cells may be at work in other threads: what they do is neither recorded nor forbidden.
            with (
                _ONE_RECORDING_AT_A_TIME,
                torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                self._results.append(self._step(*self._inputs))
        self._graph.replay()
        return self._results[0]

    def _take(self, inputs: Sequence[Tensor]) -> None:
        """Copy `inputs` to where the recording reads them."""
        if not self._inputs:
            self._inputs = [torch.empty_like(given, device=self._device) for given in inputs]
        for mine, given in zip(self._inputs, inputs, strict=True):
            if mine.shape != given.shape:
                raise ValueError(f"a step of inputs {tuple(mine.shape)} cannot take {tuple(given.shape)}")
            mine.copy_(given, non_blocking=True)  # from pageable memory: staged by the driver before it returns
