import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality import spread_over_second_half, train_by_the_clock
from data.base.device import Compute
from gan.config import GanConfig
from tests.waiting import with_own

CPU = Compute(device="cpu", precision="float32")


@given(st.lists(st.integers(1, 10_000), min_size=1, unique=True).map(sorted), st.integers(1, 8))
def test_snapshots_are_there_and_the_last_is_among_them(steps, number):
    chosen = spread_over_second_half(steps, number=number)
    assert set(chosen) <= set(steps)
    assert steps[-1] in chosen
    assert 1 <= len(chosen) <= number


def test_snapshots_lie_evenly_in_the_second_half():
    assert spread_over_second_half([100, 200, 300, 400, 500, 600], number=3) == [400, 500, 600]


def test_every_report_time_gets_a_generator_of_its_own(striped, monkeypatch):
    ticks = itertools.count()
    own = with_own(time, perf_counter=lambda: 0.01 * next(ticks))  # a step takes one tick on any machine
    monkeypatch.setattr("benchmarks.quality.time", own)
    config = GanConfig(steps=1, batch_size=8, generator_width=4, discriminator_width=4, latent_dim=8, snapshots=2)
    reports = train_by_the_clock(striped, config=config, report_seconds=[0.05, 0.2], seed=0, compute=CPU)
    (early, first), (late, second) = reports
    assert 0 < early < late
    assert not (first.members[-1].up2.weight == second.members[-1].up2.weight).all()
