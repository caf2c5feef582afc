"""`augment plan`: what a replicate takes, and what of it each further seed of the classifiers does."""

from pathlib import Path

import pytest

from evaluation.facts import StageTiming
from flows.commands.plan import replicate_seconds
from tests.evaluation.fabricated import fabricate_run

SECONDS = {
    "generator": 60.0,
    "arm real": 4.0,  # trained once, however many seeds a study has
    "arm real+classical": 5.0,
    "arm real+classical seed 1": 7.0,
    "arm real+classical+synthetic": 8.0,
    "arm real+classical+synthetic seed 1": 10.0,
}


def test_seconds_of_a_seed_are_those_of_the_arms_that_every_seed_trains(tmp_path: Path) -> None:
    report = fabricate_run(tmp_path, more_right={10: (6, 7), 50: (1, 2)}).report
    timings = {
        f"balanced-10/{replicate}": {
            stage: StageTiming(title=stage, elapsed_seconds=times * seconds, peak_memory_bytes=1, images=None)
            for stage, seconds in SECONDS.items()
        }
        for replicate, times in enumerate((1, 3))
    }
    took = replicate_seconds(report.model_copy(update={"timings": report.timings | timings}), "balanced-10", seeds=2)
    assert took.each_seed == pytest.approx(2 * (5 + 7 + 8 + 10) / 2)
    assert took.once == pytest.approx(2 * (60 + 4))
    assert took.total(2) == pytest.approx(2 * sum(SECONDS.values()))
