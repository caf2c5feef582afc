from benchmarks.stages import figures_of, seconds_of_stages
from tests.smallest import SMALLEST


def test_two_versions_are_told_with_how_many_times_quicker_this_one_is():
    rows = {"earlier": [{"samples": 18.0}, {"samples": 22.0}], "this version": [{"samples": 9.0}, {"samples": 5.5}]}
    assert figures_of(rows) == [
        (
            "stage samples of a cell, processor time",
            "earlier 20.0 (18.0 to 22.0) s, this version 7.2 (5.5 to 9.0) s; 3.0 times quicker",
        )
    ]


def test_a_stage_is_timed_with_those_that_it_needs_and_no_others():
    settings = [f"{key}={list(value) if isinstance(value, tuple) else value}" for key, value in SMALLEST.items()]
    found = seconds_of_stages(["samples"], replicate=0, settings=["data.dataset=digits", *settings])
    assert list(found) == ["subset", "policy", "generator", "synthetic", "samples"]
