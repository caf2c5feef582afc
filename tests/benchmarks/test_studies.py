"""The studies' files, and the rows that are read off what they left."""

from pathlib import Path

import pytest

from benchmarks.studies import STUDIES, dataset_of, rows_of_runs, study_figures
from data.base.files import read_json, write_json
from flows.study.config import resolve_config
from tests.evaluation import fabricated


@pytest.mark.parametrize("file", sorted(STUDIES.glob("*.toml")), ids=lambda file: file.stem)
def test_every_file_is_a_valid_configuration(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGMENT_REAL", "/sets")
    dataset = dataset_of(file)
    config = resolve_config(preset_name="quick", file=file, options={"data.dataset": dataset}, assignments=[])
    assert config.data.dataset == dataset


def test_a_report_of_another_version_keeps_its_rows_and_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [tmp_path / name for name in ("old", "new", "not-run")]
    for run in runs[:2]:
        report = fabricated.fabricate_run(run, more_right={10: (6, 7)}).report
        write_json(run / "report.json", report.model_dump(mode="json"))
    damaged = read_json(runs[0] / "report.json")
    del damaged["regimes"][0]["title"]
    write_json(runs[0] / "report.json", damaged)
    rows = rows_of_runs(runs)
    assert list(rows) == ["new"]
    assert "the rows of old stay as they are" in caplog.text
    assert "Traceback" not in caplog.text


def test_rare_classes_are_among_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fabricated.add_arms(monkeypatch, {"oversampled": 44, "evened-out": 48})
    report = fabricated.fabricate_run(tmp_path, more_right={10: (6, 6, 6)}).report
    (said,) = (figure for what, figure in study_figures("rare", report) if what.endswith(": rare classes"))
    assert "points of macro-F1 over oversampled, the best of 4 arms" in said
