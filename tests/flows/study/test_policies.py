"""The policy of classical augmentation in a study: chosen before anything else learns, and one for all of a cell."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data.base.errors import UsageError
from data.base.files import digest_json, read_json, read_model
from data.base.plugins import ALLOWED, allow
from evaluation.arms import ARMS
from evaluation.policy import PolicyChoice
from evaluation.reporting.report import read_report
from flows.study.config import StudyConfig
from flows.study.run_directory import Cell, study_cells
from flows.study.running import run_study
from flows.study.verification import verify

OWN = "own_changes:darker"
SOURCE = "def darker(images, rng):\n    return images // 2\n"
Write = Callable[[str, str], Path]


def with_policy(tiny: StudyConfig, policy: str) -> StudyConfig:
    evaluation = tiny.evaluation.model_copy(update={"policy": policy})
    return tiny.model_copy(update={"replicates": 1, "evaluation": evaluation})


def record(cell: Cell, stage: str) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = read_json(cell.directory / "stages" / f"{stage}.json")
    return found


def test_generator_and_augmented_arms_take_the_policy_that_their_cell_chose(
    undisturbed: Path, tiny: StudyConfig
) -> None:
    for cell in study_cells(tiny, undisturbed):
        choice = read_model(cell.policy_file, PolicyChoice)
        chosen = digest_json(PolicyChoice(policy=choice.policy, reason="").model_dump(mode="json"))
        assert len(choice.candidates) == 4
        assert record(cell, "generator")["resolved"]["policy"] == choice.policy
        for arm in tiny.evaluation.arms:
            made = record(cell, f"arm {arm}")
            assert ("policy" in made["inputs"]) == ARMS[arm].augmented
            if ARMS[arm].augmented:
                assert made["inputs"]["policy"] == chosen
                assert made["resolved"]["training"]["policy"] == choice.policy  # type: ignore[index]


def test_the_choice_reads_the_subset_and_nothing_else(undisturbed: Path, tiny: StudyConfig) -> None:
    assert list(record(study_cells(tiny, undisturbed)[0], "policy")["inputs"]) == ["subset"]


def test_a_report_says_which_policy_it_was(undisturbed: Path) -> None:
    (regime,) = read_report(undisturbed / "report.json").regimes
    assert regime.augmentation is not None
    assert sum(regime.augmentation.chosen.values()) == regime.num_replicates
    assert regime.augmentation.sentence in (undisturbed / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def own_run(tiny: StudyConfig, own_code: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run with the user's own policy; what was allowed for it is allowed no longer."""
    own_code("own_changes.py", SOURCE)
    allow(OWN)
    run_study(with_policy(tiny, OWN), tmp_path / "run")
    monkeypatch.delenv(ALLOWED)
    sys.modules.pop("own_changes")
    return tmp_path / "run"


@pytest.mark.slow
def test_own_policy_is_in_the_run_with_the_digest_of_its_source(own_run: Path, tiny: StudyConfig) -> None:
    (cell,) = study_cells(with_policy(tiny, OWN), own_run)
    choice = read_model(cell.policy_file, PolicyChoice)
    assert (choice.policy, choice.reason) == (OWN, "set in the configuration")
    assert record(cell, "policy")["named_code"] == {OWN: choice.source}
    assert not [link for link in verify(own_run) if link.holds is False]


@pytest.mark.slow
def test_a_run_alone_does_not_make_its_policy_run(own_run: Path, tiny: StudyConfig, own_code: Write) -> None:
    own_code("own_changes.py", "open('loaded', 'w').close()\n" + SOURCE)
    with pytest.raises(UsageError, match=f"--allow {OWN}"):
        run_study(with_policy(tiny, OWN), own_run)
    list(verify(own_run))
    assert not Path("loaded").exists()


def test_own_policy_that_makes_something_else_ends_a_study_before_anything_is_made(
    tiny: StudyConfig, own_code: Write, tmp_path: Path
) -> None:
    own_code("own_changes.py", SOURCE.replace("images // 2", "images / 2"))
    allow(OWN)
    with pytest.raises(UsageError, match="must return images of the same shape, uint8"):
        run_study(with_policy(tiny, OWN), tmp_path / "new")
    assert not (tmp_path / "new").exists()
