import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage import Tally, main, stopping, t_half_width, t_mixture_critical


def test_half_width_is_that_of_the_t_interval():
    values = [0.1, 0.4, 0.2]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert t_half_width(values) == pytest.approx((high - low) / 2)


def test_a_miss_is_counted():
    tally = Tally()
    tally.add(0.5, 0.4)
    tally.add(-0.3, 0.4)
    assert tally.told(0.2) == " 50.0 (2.00)"


def test_no_time_at_all_makes_the_t_mixture_miss_more_often_than_promised():
    values = np.random.default_rng(0).normal(size=(2000, 60))
    missed = np.zeros(2000, bool)
    for replicates in range(3, 61):
        part = values[:, :replicates]
        statistic = part.mean(1) / part.std(1, ddof=1) * np.sqrt(replicates)
        missed |= np.abs(statistic) > t_mixture_critical(replicates, alpha=0.05, prior_variance=1.0)
    assert 0.01 < missed.mean() < 0.05


def test_table_of_stopping_rules_has_a_line_for_each(capsys):
    stopping(20, np.random.default_rng(0))
    assert [line.split(" | ")[0].strip() for line in capsys.readouterr().out.splitlines()[1:]] == [
        "shares of legs",
        "alpha halved",
        "t mixture",
        "no correction",
    ]


def test_table_of_rows_tells_of_both_designs(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["coverage", "rows", "--studies", "1"])
    main()
    printed = capsys.readouterr().out
    assert "overlap 0.08, 10,000  100    2 |" in printed
    assert " 2,000 images, K=5   20    1 |" in printed
