from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from data.base.cuda_graphs import WARM_UP, RecordedStep
from data.base.device import Compute

CPU = Compute(device="cpu", precision="float32")
CUDA = Compute(device="cuda", precision="float32")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Walk:
    """A step with a state of its own on the device, and a count of how often its Python ran."""

    def __init__(self, compute: Compute) -> None:
        self.place = torch.zeros(3, device=compute.device)
        self.runs = 0
        self.step = RecordedStep(self._step, compute=compute)

    def _step(self, direction: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        self.place += direction
        return self.place * 2


def walked(compute: Compute, *, steps: int) -> tuple[Walk, list[list[float]]]:
    walk, rng = Walk(compute), torch.Generator().manual_seed(0)
    return walk, [walk.step(torch.randint(9, (3,), generator=rng).float()).tolist() for _ in range(steps)]


def test_on_a_cpu_every_call_runs_as_written():
    walk, places = walked(CPU, steps=WARM_UP + 5)
    assert walk.runs == WARM_UP + 5
    assert places[-1] == (walk.place * 2).tolist()


@needs_cuda
def test_a_recording_does_what_the_step_does_without_running_its_python():
    walk, places = walked(CUDA, steps=WARM_UP + 5)
    assert places == walked(CPU, steps=WARM_UP + 5)[1]
    assert walk.runs == WARM_UP + 1  # the last run was recorded


@needs_cuda
def test_threads_record_side_by_side():
    expected = walked(CPU, steps=WARM_UP + 20)[1]
    with ThreadPoolExecutor(4) as pool:
        walks = list(pool.map(lambda _: walked(CUDA, steps=WARM_UP + 20)[1], range(8)))
    assert all(places == expected for places in walks)


@needs_cuda
def test_inputs_of_another_shape_are_refused():
    walk, _ = walked(CUDA, steps=WARM_UP + 1)
    with pytest.raises(ValueError, match=r"inputs \(3,\) cannot take \(1,\)"):
        walk.step(torch.ones(1))
