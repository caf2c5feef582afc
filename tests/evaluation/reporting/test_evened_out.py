"""What reports say of rare classes: the GAN's images there are held against every arm without, by macro-F1."""

from pathlib import Path

import pytest
from rich.console import Console

from evaluation.reporting.report import RegimeReport, StudyReport, evened_out_sentence
from evaluation.reporting.wording import Wording
from flows.commands.run import print_report
from flows.study.store import RunStore
from tests.evaluation import fabricated

BALANCING = {"oversampled": 44, "class-weighted": 56, "evened-out": 48}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fabricated.FabricatedRun:
    """evened-out gets more images right than its reference, oversampled, and fewer than class-weighted."""
    fabricated.add_arms(monkeypatch, BALANCING)
    return fabricated.fabricate_run(tmp_path, more_right={10: (6, 6, 6, 6)})


@pytest.fixture
def regime(run: fabricated.FabricatedRun) -> RegimeReport:
    return run.report.regimes[0]


def test_the_best_rival_is_the_one_by_macro_f1(regime: RegimeReport) -> None:
    found = regime.evened_out
    assert found is not None
    levels = {arm.name: arm.macro_f1.mean for arm in regime.arms}
    assert (found.over, found.num_rivals) == ("class-weighted", 5)
    assert found.gain.mean == pytest.approx(levels["evened-out"] - levels["class-weighted"])
    assert found.gain.mean != pytest.approx(-8 / 60)  # as it is in accuracy
    assert found.gain.verdict == "hurts"


def test_console_and_page_say_so(run: fabricated.FabricatedRun, regime: RegimeReport) -> None:
    assert regime.evened_out is not None
    sentence = evened_out_sentence(regime.evened_out, confidence=0.95)
    assert sentence.startswith("evened-out, where the GAN's images fill up rare classes: -")
    assert "points of macro-F1 over class-weighted, the best of 5 arms without a GAN (95% interval" in sentence
    console = Console(record=True, width=200)
    print_report(run.report, RunStore(str(run.directory)), console=console)
    assert sentence in console.export_text().replace("\n", "")
    assert sentence.replace("'", "&#39;") in run.write_page().read_text()


def test_another_generator_is_called_by_its_name(regime: RegimeReport) -> None:
    assert regime.evened_out is not None
    sentence = evened_out_sentence(regime.evened_out, confidence=0.95, wording=Wording("pca-mixture"))
    assert "the images of pca-mixture" in sentence
    assert "arms without pca-mixture" in sentence
    assert "GAN" not in sentence


def test_reports_of_earlier_versions_are_read(run: fabricated.FabricatedRun) -> None:
    earlier = run.report.model_dump(mode="json")
    for regime in earlier["regimes"]:
        del regime["evened_out"]
    assert StudyReport.model_validate(earlier).regimes[0].evened_out is None


def test_studies_without_the_arm_say_nothing(tmp_path: Path) -> None:
    assert fabricated.fabricate_run(tmp_path, more_right={10: (6, 6)}).report.regimes[0].evened_out is None
