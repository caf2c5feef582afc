from types import SimpleNamespace

import pytest

from flows.commands import judge
from flows.study.config import StudyConfig


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(
        judge, "membership_sentences", lambda report: [("all", "Samples give away who was in training.")]
    )

    def lines(design, synthetic):
        study = StudyConfig.model_validate({"data": {"design": design}})
        return judge.privacy_lines(SimpleNamespace(), study, str(synthetic))

    return lines


def test_with_folds_nobody_knows_who_was_in_training(told, tmp_path):
    (line,) = told("one data set", tmp_path / "made")
    assert line.startswith("not known")


def test_with_test_images_the_samples_are_attacked(told, tmp_path):
    assert told("given test", tmp_path / "made") == ["Samples give away who was in training."]


def test_images_of_a_cell_come_with_what_its_own_study_found(told, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(judge, "measured_privacy", lambda directory: asked.append(directory) or "The generator file …")
    lines = told("one data set", f"parquet:{tmp_path / 'cell' / 'synthetic'}")
    assert asked == [tmp_path / "cell" / "generator"]
    assert lines[-1] == "as the study of this generator found: The generator file …"
