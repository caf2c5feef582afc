import numpy as np
import pytest

from benchmarks.seeds import seed_figures


def test_shared_seeds_leave_of_a_difference_what_the_arms_do_not_have_in_common():
    rng = np.random.default_rng(0)
    common = rng.normal(0, 0.4, (400, 1, 12))
    rows = 95 + common + rng.normal(0, 0.3, (400, 2, 12))
    figures = {what.split(": ")[1]: float(figure.split()[0]) for what, figure in seed_figures(rows)}
    assert figures["SD of a difference by seed, seeds shared by both arms"] == pytest.approx(0.3 * 2**0.5, rel=0.03)
    assert figures["SD of a difference by seed, seeds of their own"] == pytest.approx(0.5 * 2**0.5, rel=0.03)
    assert figures["correlation of the arms over seeds"] == pytest.approx(0.64, abs=0.03)
    assert figures["variance between draws over that between fits, shared"] == pytest.approx(0, abs=0.02)
