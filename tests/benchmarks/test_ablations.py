from functools import partial

import pytest

from benchmarks.ablations import REFERENCE, table_of
from benchmarks.protocol import by_draw


def test_gains_are_paired_with_the_reference_of_the_same_draw():
    found = {
        REFERENCE: [90.0, 94.0, 96.0],
        "PCA": [91.0, 95.5, 96.5],
        "the GAN: seconds": [1, 1, 1],
        "the GAN": [89, 94, 97],
    }
    lines = table_of(found).splitlines()
    assert lines[2:] == [
        "| none (the reference) | 93.33 | | | |",
        "| PCA | 94.33 | +1.00 | 0.29 | 3 of 3 |",  # 1, 1.5, 0.5: SD 0.5
        "| the GAN | 93.33 | +0.00 | 0.58 | 1 of 3 |",
    ]


def figures_of_a_draw(draw: int, *, scale: float):
    yield "once", scale * draw
    if draw % 2 == 0:
        yield "of even draws", scale * draw


@pytest.mark.slow
def test_figures_of_draws_measured_side_by_side_come_in_the_order_of_the_draws(capfd):
    found = by_draw(partial(figures_of_a_draw, scale=0.5), draws=range(4, 7), workers=2)
    assert found == {"once": [2.0, 2.5, 3.0], "of even draws": [2.0, 3.0]}
    assert "draw 5 after 0 s, once: 2.50" in capfd.readouterr().out
