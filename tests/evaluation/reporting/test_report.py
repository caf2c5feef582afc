"""report.json: what it computes, says and refuses to read."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.base.errors import CorruptFileError
from evaluation.gains import Gain, RegimeAnswers
from evaluation.intervals import FreshDraws
from evaluation.reporting.report import (
    BestGain,
    _study_checks,
    _tail,
    flatten_config,
    needed_sentence,
    overall_verdict,
    read_report,
    verdict_sentence,
    worth_sentence,
)
from evaluation.reporting.wording import Wording
from evaluation.verdicts import Needed, Verdict
from evaluation.worth import LabelsWorth
from tests.evaluation.fabricated import fabricate_run

COUNTS = ((8, 8, 7), (7, 7, 7))  # of nearly balanced data, in two folds
HELPS = {10: (6, 7, 8, 7)}


def test_headline_is_the_mean_paired_difference(tmp_path: Path) -> None:
    report = fabricate_run(tmp_path, more_right=HELPS).report
    assert report.regimes[0].headline.mean == pytest.approx(7 / 60)


def test_report_survives_writing_and_reading(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path, more_right=HELPS)
    assert read_report(tmp_path / "report.json") == run.report


def test_a_study_hurts_where_one_regime_does() -> None:
    assert overall_verdict(["helps", "hurts", "undecided"]) == "hurts"


@pytest.mark.parametrize(
    ("interval", "verdict", "said"),
    [
        ((0.01, 0.04), "helps", "GAN augmentation helps: +2.50 points of accuracy over equal-compute, the best of 3"),
        ((-0.04, -0.01), "hurts", "GAN augmentation hurts: +2.50 points"),
        ((-0.004, 0.004), "no gain worth having", "no gain worth having, less than 0.5 points either way: +2.50"),
        ((-0.02, 0.03), "undecided", "it is undecided whether GAN augmentation helps: +2.50"),
        ((None, None), "unavailable", "without an interval: an interval needs 2 replicates"),
    ],
)
def test_sentence_says_what_the_interval_says(
    interval: tuple[float | None, float | None], verdict: Verdict, said: str
) -> None:
    low, high = interval
    reason = "an interval needs 2 replicates or more" if low is None else ""
    gain = Gain(
        mean=0.025, values=(), low=low, high=high, p_value=None, verdict=verdict, parts=None, unavailable=reason
    )
    sentence = verdict_sentence(
        BestGain(gain=gain, over="equal-compute", num_rivals=3),
        title="10 per class",
        repeated="6 fresh draws",
        confidence=0.95,
        wished_gain=0.005,
    )
    assert said in sentence
    assert ("6 fresh draws" in sentence) == (low is not None)


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        (Needed(fewest=8, most=40, bottleneck="replicates"), "8 to 40 replicates in all"),
        (
            Needed(fewest=8, most=None, bottleneck="test images"),
            "8 replicates in all at the least, and more test images",
        ),
        (Needed(fewest=None, most=None, bottleneck="test images"), "no number of replicates decides it"),
    ],
)
def test_undecided_says_what_it_would_take(needed: Needed, said: str) -> None:
    assert said in needed_sentence(needed)


@pytest.mark.parametrize(
    ("worth", "said"),
    [
        (
            LabelsWorth(images=2.8, low=1.2, high=5.2, most=10),
            "as much as 2.8 more labelled images per class (1.2 to 5.2)",
        ),
        (LabelsWorth(images=8, low=6, high=None, most=10), "(6.0 to more than 10.0)"),
        (
            LabelsWorth(images=None, low=9, high=None, most=10),
            "more than 10.0 more labelled images per class (at least 9",
        ),
        (LabelsWorth(images=None, low=10, high=None, most=10), "worth more than 10.0 more labelled images per class"),
        (LabelsWorth(images=0, low=0, high=3.8, most=10), "worth no labelled images, or 3.8 per class at the most"),
        (LabelsWorth(images=0, low=0, high=0, most=10), "worth no labelled images"),
    ],
)
def test_worth_is_said_in_images(worth: LabelsWorth, said: str) -> None:
    assert said in worth_sentence(worth)
    assert worth_sentence(worth).count("(") == said.count("(")


def test_headline_is_held_against_every_arm_without_a_gan(tmp_path: Path) -> None:
    regime = fabricate_run(tmp_path, more_right=HELPS).report.regimes[0]
    assert set(regime.rivals) == {"real", "real+classical", "equal-compute"}
    assert regime.headline.mean == min(gain.mean for gain in regime.rivals.values())
    assert regime.rivals["real"].mean > regime.headline.mean


def test_controls_of_the_study_are_made(tmp_path: Path) -> None:
    regime = fabricate_run(tmp_path, more_right={10: (6,) * 5 + (7,)}).report.regimes[0]
    passed = {check.name: check.passed for check in regime.checks}
    assert passed["control: augmented copies in the GAN's place do not help"] is None  # of 60 images, nothing is sure
    assert passed["control: 2 times the labels help"] is True
    assert len(passed) == 3


@pytest.mark.parametrize(
    ("low", "high", "passed"),
    [(-0.004, 0.004, True), (0.001, 0.004, False), (-0.03, 0.03, None), (-0.01, 0.005, None), (None, None, None)],
)
def test_a_control_passes_where_a_gain_worth_having_is_ruled_out(
    low: float | None, high: float | None, passed: bool | None, tmp_path: Path
) -> None:
    arms = fabricate_run(tmp_path, more_right=HELPS).report.regimes[0].arms
    copies = next(arm for arm in arms if arm.name == "deformed-copies")
    assert copies.accuracy_gain is not None
    judged = replace(copies.accuracy_gain, low=low, high=high)
    with_gain = copies.model_copy(update={"accuracy_gain": judged})
    (check,) = _study_checks({"deformed-copies": with_gain}, wished_gain=0.005, wording=Wording())
    assert check.passed is passed


def test_without_an_interval_the_best_arm_is_named_all_the_same(tmp_path: Path) -> None:
    regime = fabricate_run(tmp_path, more_right={10: (6,)}).report.regimes[0]
    best = min(regime.rivals, key=lambda arm: regime.rivals[arm].mean)
    assert (regime.over, regime.headline.mean) == (best, regime.rivals[best].mean)
    assert regime.headline.verdict == "unavailable"
    assert f"points of accuracy over {best}, the best of 3 arms" in regime.sentence


def test_what_it_takes_to_decide_is_said_for_the_look_to_come(tmp_path: Path) -> None:
    regime = fabricate_run(tmp_path, more_right={10: (2, 0, 3, -1, 2, 1)}).report.regimes[0]
    assert regime.needed is not None
    assert regime.needed.fewest is None or regime.needed.fewest > regime.num_replicates


def test_rare_classes_are_those_of_all_replicates(tmp_path: Path) -> None:
    cells = fabricate_run(tmp_path, more_right={10: (6, 7)}).report.cells
    folds = [cell.model_copy(update={"class_counts": counts}) for cell, counts in zip(cells, COUNTS, strict=True)]
    tested = RegimeAnswers(labels=np.array([0, 1, 2]), num_classes=3, predicted={}, design=FreshDraws(), folds=1)
    assert _tail(folds, tested) == (2,)
    assert _tail(folds, replace(tested, labels=np.array([0, 1]))) == ()  # nothing to recall


def test_each_look_is_recorded_with_what_it_decided(tmp_path: Path) -> None:
    report = fabricate_run(tmp_path, more_right={10: (18,) * 3 + (17,) * 3, 100: (0, 2, -1, 0, 1, -2)}).report
    (taken,) = report.looks.taken
    assert taken.look.replicates == 6
    assert taken.decided == ("balanced-10",)
    assert taken.intervals["balanced-10"] == (report.regimes[0].headline.low, report.regimes[0].headline.high)


def test_protocol_follows_the_measurement_alone(tmp_path: Path) -> None:
    base = fabricate_run(tmp_path / "base", more_right=HELPS).report
    other_gan = fabricate_run(tmp_path / "gan", more_right=HELPS, changes={"gan": {"steps": 9, "batch_size": 2}}).report
    evaluation = base.config["evaluation"] | {"added_share": 0.3}
    other_share = fabricate_run(tmp_path / "share", more_right=HELPS, changes={"evaluation": evaluation}).report
    assert other_gan.protocol == base.protocol != other_share.protocol


@pytest.mark.parametrize("content", ["", "{", "[]", '{"report_version": 999}', '{"report_version": 1}'])
def test_unreadable_report_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(CorruptFileError, match=r"report\.json"):
        read_report(tmp_path / "report.json")


def test_report_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    fabricate_run(tmp_path, more_right=HELPS)
    file = tmp_path / "report.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"surprise": 1}))
    with pytest.raises(CorruptFileError, match="surprise"):
        read_report(file)


def test_flat_configuration_has_dotted_keys() -> None:
    assert flatten_config({"gan": {"steps": 5}, "arms": ["a", "b"]}) == {"gan.steps": "5", "arms": "a, b"}
