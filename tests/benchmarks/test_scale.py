from benchmarks.scale import Measurement, scale_figures


def studied(*, working_seconds: float, stage_seconds: float = 90.0) -> Measurement:
    return Measurement(num_cells=4, elapsed_seconds=120.0, working_seconds=working_seconds, stage_seconds=stage_seconds)


def test_efficiency_is_each_repeats_rate_over_that_of_as_many_workers_alone():
    measured = {
        1: [studied(working_seconds=100), studied(working_seconds=120)],
        2: [studied(working_seconds=50), studied(working_seconds=75)],
    }
    figures = dict(scale_figures(measured, {2: [0.9, 1.0]}))
    assert figures["1 workers, cells a minute"] == "2.00 (2.00 to 2.00)"
    assert figures["2 workers, efficiency"] == "0.90 (0.80 to 1.00)"
    assert figures["2 workers, ceiling: independent trainings at once"] == "0.95 (0.90 to 1.00)"
    assert figures["time between stages (Prefect, files), % of the cells' time"] == "17.50 (10.00 to 25.00)"
    (outside,) = (figure for what, figure in figures.items() if what.startswith("all time outside of stages"))
    assert outside == "25.00 (25.00 to 25.00)"
