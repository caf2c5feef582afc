"""report.json: what it computes, says and refuses to read."""

import json
from pathlib import Path

import pytest

from data.base.errors import CorruptFileError
from evaluation.reporting.report import flatten_config, overall_verdict, read_report, verdict_sentence
from evaluation.statistics import paired_gains
from tests.evaluation.fabricated import fabricate_run

HELPS = {10: (6, 7, 8, 7)}


def test_headline_is_the_mean_paired_difference(tmp_path: Path) -> None:
    report = fabricate_run(tmp_path, more_right=HELPS).report
    assert report.regimes[0].headline.mean == pytest.approx(7 / 60)


def test_report_survives_writing_and_reading(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path, more_right=HELPS)
    assert read_report(tmp_path / "report.json") == run.report


def test_a_study_hurts_where_one_regime_does() -> None:
    assert overall_verdict(["helps", "hurts", "no measurable difference"]) == "hurts"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0.02, 0.03, 0.025), "GAN augmentation helps: +2.50 points"),
        ((-0.02, -0.03, -0.025), "GAN augmentation hurts: -2.50 points"),
        ((-0.02, 0.03, -0.01), "no measurable difference: +0.00 points"),
        ((0.02,), "without an interval: an interval needs 2 replicates"),
    ],
)
def test_sentence_says_what_the_interval_says(values: tuple[float, ...], said: str) -> None:
    (gain,) = paired_gains([values], confidence=0.95)
    assert said in verdict_sentence(gain, title="10 per class", confidence=0.95)


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
