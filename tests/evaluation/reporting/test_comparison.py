"""Comparison of runs: pairing, Welch, refusals, best, trend, regressions, and the command around it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from data.base.errors import CorruptFileError, RegressionError, UsageError
from evaluation.reporting.comparison import Comparison, NamedReport, compare_reports
from flows.commands.compare import compare, named_reports
from tests.evaluation.fabricated import FRESH, fabricate_run

GOOD, BAD = (6, 7, 8, 7), (-6, -5, -7, -6)


def named(directory: Path, name: str, replicates: Sequence[int], **options: object) -> NamedReport:
    run = fabricate_run(directory / name, more_right={10: replicates}, **options)  # type: ignore[arg-type]
    return NamedReport(name=name, link=f"{name}/report.html", report=run.report)


def comparison(directory: Path, *families: Sequence[int], subsets: Sequence[str] = ("", "", "", "")) -> Comparison:
    runs = [named(directory, f"run{place}", family, subsets=subsets[place]) for place, family in enumerate(families)]
    return compare_reports(runs, force=False)


def test_same_subsets_are_paired(tmp_path: Path) -> None:
    found = comparison(tmp_path, (1, 5, 9), (3, 6, 12)).difference(run="run1", regime="balanced-10")
    assert found is not None
    assert found.paired
    assert found.mean == pytest.approx(2 / 60)
    low, high = stats.ttest_1samp(np.array([2, 1, 3]) / 60, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_other_subsets_are_independent_samples(tmp_path: Path) -> None:
    ours, theirs = (1, 5, 9), (3, 6, 12, 7)
    found = comparison(tmp_path, ours, theirs, subsets=("a", "b")).difference(run="run1", regime="balanced-10")
    assert found is not None
    assert not found.paired
    expected = stats.ttest_ind(np.array(theirs) / 60, np.array(ours) / 60, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_folds_share_their_training_images_so_the_interval_is_wider(tmp_path: Path) -> None:
    """Nadeau & Bengio (2003): s^2 / n becomes s^2 (1 / n + 1 / (K - 1))."""
    folds = {"designs": {"balanced-10": FRESH | {"name": "one data set", "num_subset": 48, "folds": 5}}}
    families = (1, 5, 9, 4, 4), (3, 6, 12, 4, 3)
    runs = [named(tmp_path, f"run{place}", family, dataset=folds) for place, family in enumerate(families)]
    found = compare_reports(runs, force=False)
    difference = found.difference(run="run1", regime="balanced-10")
    assert difference is not None
    assert difference.paired
    differences = np.array([2, 1, 3, 0, -1]) / 60
    half = stats.t.ppf(0.975, 4) * differences.std(ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    assert (difference.low, difference.high) == pytest.approx((1 / 60 - half, 1 / 60 + half))
    assert "not independent" in found.regimes[0].about
    assert "Nadeau" not in comparison(tmp_path / "draws", *families).regimes[0].about


def test_each_run_says_over_which_arm_its_gain_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        fabricate_run(tmp_path / name, more_right={10: GOOD})
    compare([tmp_path / "one", tmp_path / "two"], output=tmp_path / "c.html")
    printed = capsys.readouterr().out
    result = Comparison.model_validate_json((tmp_path / "c.json").read_text()).regimes[0].results[0]
    assert result.over in printed
    assert "over the best arm that needs no GAN" in " ".join(printed.split())
    assert "over the best arm that needs no GAN" in (tmp_path / "c.html").read_text()


def test_longer_run_is_paired_on_the_subsets_that_both_drew(tmp_path: Path) -> None:
    found = comparison(tmp_path, (1, 5, 9), (3, 6, 12, 50)).difference(run="run1", regime="balanced-10")
    assert found is not None
    assert found.paired
    assert found.mean == pytest.approx(2 / 60)


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    found = comparison(tmp_path, GOOD, GOOD)
    assert {difference.change for difference in found.differences} == {"no measurable difference"}
    assert found.configuration == ()


def test_constant_difference_has_no_interval(tmp_path: Path) -> None:
    found = comparison(tmp_path, (1, 2, 3), (2, 3, 4)).difference(run="run1", regime="balanced-10")
    assert found is not None
    assert found.change == "not available"
    assert "every replicate gave the same difference" in found.unavailable


def test_single_replicates_have_no_interval(tmp_path: Path) -> None:
    found = comparison(tmp_path, (1,), (2,)).difference(run="run1", regime="balanced-10")
    assert found is not None
    assert (found.change, found.low) == ("not available", None)


def test_best_run_is_clear_only_beyond_the_interval(tmp_path: Path) -> None:
    clear = comparison(tmp_path / "clear", BAD, GOOD).regimes[0].best
    close = comparison(tmp_path / "close", (5, 7, 8), (6, 8, 7)).regimes[0].best
    assert (clear.run, clear.second, clear.clear) == ("run1", "run0", True)
    assert (close.run, close.clear) == ("run1", False)


def test_trend_needs_three_runs_and_is_the_slope(tmp_path: Path) -> None:
    assert comparison(tmp_path / "two", GOOD, BAD).regimes[0].trend is None
    trend = comparison(tmp_path / "three", (1, 3), (3, 5), (4, 8)).regimes[0].trend
    assert trend is not None
    assert trend.slope == pytest.approx(2 / 60)


def test_worse_run_is_a_regression(tmp_path: Path) -> None:
    sentence, *others = comparison(tmp_path, GOOD, BAD).regressions
    assert all("accuracy of real+classical+synthetic" in other for other in others)
    assert sentence.startswith("run1 is worse than run0 with 10 per class: headline gain changed by -21.67 points")


def test_single_replicates_cannot_be_judged_and_that_is_said(tmp_path: Path) -> None:
    assert "2 replicates" in comparison(tmp_path / "one", (1,), (2,)).unjudged
    assert comparison(tmp_path / "more", GOOD, BAD).unjudged == ""


def test_other_data_are_refused_with_the_reason(tmp_path: Path) -> None:
    runs = [named(tmp_path, "one", GOOD), named(tmp_path, "two", GOOD, dataset={"test_digest": "c" * 64})]
    with pytest.raises(UsageError, match=r"two has another test split \(stripes, cccccccc\) than one .*--force"):
        compare_reports(runs, force=False)


def test_other_protocol_is_refused_naming_the_key(tmp_path: Path) -> None:
    first = named(tmp_path, "one", GOOD)
    evaluation = first.report.config["evaluation"] | {"added_share": 0.3}
    second = named(tmp_path, "two", GOOD, changes={"evaluation": evaluation})
    with pytest.raises(UsageError, match=r"evaluation\.added_share is 0\.3, not auto"):
        compare_reports([first, second], force=False)


def test_another_version_of_own_code_is_refused(tmp_path: Path) -> None:
    def run(name: str, digest: str) -> NamedReport:
        made = named(tmp_path, name, GOOD)
        cells = [cell.model_copy(update={"named_code": {"own:make": digest * 64}}) for cell in made.report.cells]
        return replace(made, report=made.report.model_copy(update={"cells": tuple(cells)}))

    with pytest.raises(UsageError, match=r"two ran another version of own:make \(bbbbbbbb\) than one \(aaaaaaaa\)"):
        compare_reports([run("one", "a"), run("two", "b")], force=False)
    assert not compare_reports([run("one", "a"), run("three", "a")], force=False).reasons


def test_forced_comparison_says_so(tmp_path: Path) -> None:
    runs = [named(tmp_path, "one", GOOD), named(tmp_path, "two", GOOD, dataset={"train_digest": "c" * 64})]
    forced = compare_reports(runs, force=True)
    assert forced.forced
    assert "another train split" in forced.reasons[0]


def test_force_on_comparable_runs_marks_nothing(tmp_path: Path) -> None:
    runs = [named(tmp_path, "one", GOOD), named(tmp_path, "two", GOOD)]
    assert not compare_reports(runs, force=True).forced


def test_configuration_differences_are_dotted_keys(tmp_path: Path) -> None:
    runs = [named(tmp_path, "one", GOOD), named(tmp_path, "two", GOOD, changes={"gan": {"steps": 7, "batch_size": 10}})]
    (difference,) = compare_reports(runs, force=False).configuration
    assert (difference.key, difference.values) == ("gan.steps", ("100", "7"))


def test_runs_without_a_common_regime_are_refused(tmp_path: Path) -> None:
    one = named(tmp_path, "one", GOOD)
    other = fabricate_run(tmp_path / "two", more_right={50: GOOD}).report
    with pytest.raises(UsageError, match="nothing to compare"):
        compare_reports([one, NamedReport(name="two", link="", report=other)], force=True)


def test_command_writes_page_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, family in (("one", BAD), ("two", GOOD)):
        fabricate_run(tmp_path / name, more_right={10: family})
    compare([tmp_path / "one", tmp_path / "two" / "report.json"], output=tmp_path / "c.html", fail_on_regression=True)
    assert Comparison.model_validate_json((tmp_path / "c.json").read_text()).regimes[0].best.run == "two"
    assert 'href="two/report.html"' in (tmp_path / "c.html").read_text()
    assert "+21.67" in capsys.readouterr().out


def test_command_fails_on_regression_after_writing(tmp_path: Path) -> None:
    for name, family in (("one", GOOD), ("two", BAD)):
        fabricate_run(tmp_path / name, more_right={10: family})
    with pytest.raises(RegressionError) as caught:
        compare([tmp_path / "one", tmp_path / "two"], output=tmp_path / "c.html", fail_on_regression=True)
    assert caught.value.exit_code == 3
    assert (tmp_path / "c.html").exists()
    assert (tmp_path / "c.json").exists()


def test_forced_page_and_json_are_marked(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "one", more_right={10: GOOD})
    fabricate_run(tmp_path / "two", more_right={10: GOOD}, dataset={"test_digest": "c" * 64})
    compare([tmp_path / "one", tmp_path / "two"], output=tmp_path / "c.html", force=True)
    assert "Forced comparison: these runs are not comparable" in (tmp_path / "c.html").read_text()
    assert json.loads((tmp_path / "c.json").read_text())["forced"] is True


def test_refused_comparison_writes_nothing(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "one", more_right={10: GOOD})
    fabricate_run(tmp_path / "two", more_right={10: GOOD}, dataset={"test_digest": "c" * 64})
    with pytest.raises(UsageError):
        compare([tmp_path / "one", tmp_path / "two"], output=tmp_path / "c.html")
    assert not list(tmp_path.glob("c.*"))


def test_same_page_for_the_same_runs(tmp_path: Path) -> None:
    for name, family in (("one", GOOD), ("two", BAD), ("three", GOOD)):
        fabricate_run(tmp_path / name, more_right={10: family})
    pages = []
    for _ in range(2):
        compare([tmp_path / name for name in ("one", "two", "three")], output=tmp_path / "c.html")
        pages.append((tmp_path / "c.html").read_bytes())
    assert pages[0] == pages[1]


def test_runs_of_the_same_name_are_numbered(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        fabricate_run(tmp_path / parent / "run", more_right={10: GOOD})
    runs = named_reports([tmp_path / "a" / "run", tmp_path / "b" / "run"], page=tmp_path / "c.html")
    assert [run.name for run in runs] == ["run", "run #2"]


def test_run_without_report_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty holds no report\.json"):
        named_reports([tmp_path / "empty"], page=tmp_path / "c.html")


def test_damaged_report_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(CorruptFileError, match=r"report\.json"):
        named_reports([tmp_path], page=tmp_path / "c.html")


def test_output_that_is_no_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.html"):
        compare([tmp_path, tmp_path], output=tmp_path / "c.json")


def test_json_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    for name in ("one", "two"):
        fabricate_run(tmp_path / name, more_right={10: GOOD})
    before = (tmp_path / "two" / "report.json").read_text()
    runs, page = [str(tmp_path / "one"), str(tmp_path / "two")], tmp_path / "two" / "report.html"
    with pytest.raises(UsageError, match=r"report\.json is there and holds no comparison"):
        compare(runs, output=page)
    assert (tmp_path / "two" / "report.json").read_text() == before
    assert not page.exists()
