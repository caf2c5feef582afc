from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from prefect.client.schemas.objects import StateType

from benchmarks.soak import accounted, growth, longest

START = datetime(2026, 1, 1, tzinfo=UTC)


def runs(*states: StateType | None) -> list[Any]:
    """Runs due every minute, None where there is none."""
    return [
        SimpleNamespace(expected_start_time=START + timedelta(minutes=place), state=SimpleNamespace(type=state))
        for place, state in enumerate(states)
        if state is not None
    ]


def test_every_due_time_has_a_run_that_ended_or_is_told():
    seen = runs(
        StateType.COMPLETED, StateType.CANCELLED, None, StateType.RUNNING, StateType.COMPLETED, StateType.SCHEDULED
    )
    found = accounted(seen, start=START, end=START + timedelta(minutes=7), interval=60)
    assert found.due == 5  # the last two minutes need not have ended
    assert found.ended == {"COMPLETED": 2, "CANCELLED": 1}
    assert (found.open, found.missing) == (1, 1)


def test_growth_compares_the_smallest_of_each_minute():
    seen = [(60.0 * minute + second, (100 + minute) * 10**6 + second) for minute in range(9) for second in (0, 30)]
    assert growth(seen) == "102 MB, then 108 MB"


def test_growth_is_told_of_the_process_that_lived_longest():
    short, long = [(0.0, 5), (60.0, 5), (120.0, 9)], [(200.0, 1), (500.0, 2)]
    assert longest([short, long]) == long
