"""Studies that grow: more replicates of a finished run, and replicates until it is decided."""

import shutil
from pathlib import Path

import pytest

from data.base.errors import UsageError
from evaluation.reporting.report import read_report
from flows.study.config import StudyConfig
from flows.study.growing import Until, run_until_decided
from flows.study.run_directory import grows_from, load_run_config, looks_at
from flows.study.running import OpenStudy, opened_study, run_cell, run_stage, run_study
from flows.study.store import store_of
from flows.study.watching import listening


def run_cells(study: OpenStudy) -> None:
    for place in study.places():
        run_cell(place, study.config, study.compute, run=run_stage)


def until(config: StudyConfig, directory: Path, **limits: object) -> list[int]:
    """Run until decided and return at how many replicates the study looked."""
    with opened_study(store_of(directory), config) as study:
        run_until_decided(study, Until.model_validate(limits), run_cells)
    return [taken.look.replicates for taken in looks_at(directory).taken]


@pytest.fixture
def single(tiny: StudyConfig) -> StudyConfig:
    """One replicate, of few arms."""
    arms = ("real", "real+classical", "real+classical+synthetic")
    evaluation = tiny.evaluation.model_copy(update={"arms": arms, "classifier_seeds": 1})
    return tiny.model_copy(update={"replicates": 1, "evaluation": evaluation})


@pytest.fixture(scope="module")
def grown(undisturbed: Path, tiny: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study's run, which was finished and got one more replicate."""
    run = Path(shutil.copytree(undisturbed, tmp_path_factory.mktemp("grown") / "run"))
    run_study(tiny.model_copy(update={"replicates": 3}), run)
    return run


def test_a_finished_run_gets_more_replicates_and_keeps_those_it_has(grown: Path, undisturbed: Path) -> None:
    report = read_report(grown / "report.json")
    assert report.regimes[0].num_replicates == 3
    assert [taken.look.replicates for taken in report.looks.taken] == [2, 3]
    before = list(undisturbed.rglob("predictions.parquet"))
    assert before
    for path in before:
        assert (grown / path.relative_to(undisturbed)).stat().st_mtime_ns == path.stat().st_mtime_ns
    assert load_run_config(grown).replicates == 3


def test_a_run_that_grew_has_the_figures_of_one_that_was_that_large_at_once(
    grown: Path, tiny: StudyConfig, tmp_path: Path
) -> None:
    run_study(tiny.model_copy(update={"replicates": 3}), tmp_path / "once")
    regime, once = (read_report(run / "report.json").regimes[0] for run in (grown, tmp_path / "once"))
    assert regime.arms[0].accuracy == once.arms[0].accuracy
    assert regime.rivals["real"].mean == once.rivals["real"].mean


def test_a_run_may_grow_and_nothing_else(tiny: StudyConfig) -> None:
    tiny = tiny.model_copy(update={"replicates": 4})
    more_regimes = tiny.data.model_copy(update={"images_per_class": (10, 5)})
    assert grows_from(tiny, tiny)
    assert grows_from(tiny, tiny.model_copy(update={"replicates": 9}))
    assert grows_from(tiny, tiny.model_copy(update={"data": more_regimes}))
    assert not grows_from(tiny, tiny.model_copy(update={"replicates": 3}))
    assert not grows_from(tiny, tiny.model_copy(update={"seed": 1}))


class Heard:
    """Keeps the lines of every look."""

    def __init__(self) -> None:
        self.looks: list[list[str]] = []

    def update(self, update: object) -> None: ...

    def finished(self, update: object, *, skipped: bool) -> None: ...

    def looked(self, lines: list[str], *, total_weight: float) -> None:
        self.looks.append(lines)


def test_it_looks_again_and_again_up_to_the_limit_and_tells(single: StudyConfig, tmp_path: Path) -> None:
    heard = Heard()
    wishing = single.evaluation.model_copy(update={"wished_gain": 1e-9})
    with listening(heard):  # type: ignore[arg-type]
        looked = until(single.model_copy(update={"evaluation": wishing}), tmp_path / "run", max_replicates=5)
    report = read_report(tmp_path / "run" / "report.json")
    assert looked[0] == 4
    assert looked[-1] <= 5
    assert len(heard.looks) == len(looked)
    assert "4 replicates: " in heard.looks[0][0]
    assert report.regimes[0].headline.verdict in heard.looks[-1][0]


def test_it_stops_when_it_is_decided(single: StudyConfig, tmp_path: Path) -> None:
    easy = single.evaluation.model_copy(update={"wished_gain": 0.99})
    looked = until(single.model_copy(update={"evaluation": easy}), tmp_path / "run", max_replicates=50)
    assert looked == [4]
    report = read_report(tmp_path / "run" / "report.json")
    assert report.regimes[0].headline.verdict == "no gain worth having"
    assert report.looks.taken[-1].decided == ("balanced-10",)


def test_a_budget_too_short_for_two_replicates_is_told_and_loses_nothing(single: StudyConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"too short for 2 replicates.*--resume"):
        until(single, tmp_path / "run", budget_seconds=0.01)
    assert (tmp_path / "run" / "cells" / "balanced-10" / "0" / "cell.json").is_file()
