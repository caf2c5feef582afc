import os

from benchmarks.cost import Cost, jobs, measure_nothing, run_alone, told
from data.base.device import Compute

CPU = Compute(device="cpu", precision="float32")


def test_every_setting_is_measured_once():
    titles = [job.title for job in jobs(steps=1, generated=(10,), compute=CPU)]
    assert len(titles) == len(set(titles)) == 1 + 4 + 3 + 2 + 1
    assert "training on 1,000 images of 28x28, batch 128" in titles
    assert titles[-1] == "export of 10 images"


def test_figure_has_median_and_spread():
    costs = [Cost(seconds=(0.1, 0.2, 0.3), memory_bytes=size * 2**20, device_bytes=0) for size in (100, 110, 150)]
    assert told(costs, unit="ms a step") == "200.0 (100.0 to 300.0) ms a step, peak memory 110 (100 to 150) MiB"


def test_memory_of_the_device_is_told_where_there_is_one():
    costs = [Cost(memory_bytes=2**20, device_bytes=3 * 2**20)]
    assert told(costs, unit="") == "peak memory 1 (1 to 1) MiB, on the GPU 3 (3 to 3) MiB"


def test_every_measurement_has_a_process_of_its_own():
    assert run_alone(os.getpid) != os.getpid()


def test_a_measurement_tells_its_memory():
    cost = measure_nothing()
    assert cost.seconds == ()
    assert cost.memory_bytes > 50 * 2**20
