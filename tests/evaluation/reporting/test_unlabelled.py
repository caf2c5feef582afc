"""What reports say of images without labels: the GAN is held against both kinds of arms that need none."""

from pathlib import Path

import pytest

from evaluation.gains import Gain
from evaluation.reporting.report import BestGain, RegimeReport, UnlabelledGains, unlabelled_sentence
from tests.evaluation import fabricated

PARTNERS = {"pseudo-labels": 47, "fixmatch": 50, "fixmatch+synthetic": 53}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fabricated.FabricatedRun:
    """Of 60 test images real+classical gets 42 right, fixmatch 50, the headline arm 48 and fixmatch+synthetic 53."""
    fabricated.add_arms(monkeypatch, PARTNERS)
    return fabricated.fabricate_run(tmp_path, more_right={10: (6, 6, 6, 6)})


@pytest.fixture
def regime(run: fabricated.FabricatedRun) -> RegimeReport:
    return run.report.regimes[0]


def test_partners_are_rivals_of_the_headline(regime: RegimeReport) -> None:
    assert regime.over == "fixmatch"
    assert regime.headline.mean == pytest.approx(-2 / 60)


def test_gains_over_both_kinds_of_arms_without_a_gan(regime: RegimeReport) -> None:
    def figures(best: BestGain) -> tuple[str, int, int]:
        return best.over, best.num_rivals, round(60 * best.gain.mean)

    found = {gains.arm: [figures(gains.over_labelled), figures(gains.over_partners)] for gains in regime.unlabelled}
    assert found == {
        "real+classical+synthetic": [("real+classical", 3, 6), ("fixmatch", 2, -2)],
        "fixmatch+synthetic": [("real+classical", 3, 11), ("fixmatch", 2, 3)],
    }


def test_the_page_says_so(run: fabricated.FabricatedRun) -> None:
    page = run.write_page().read_text()
    for gains in run.report.regimes[0].unlabelled:
        assert unlabelled_sentence(gains, confidence=0.95) in page


def test_studies_without_such_images_say_nothing(tmp_path: Path) -> None:
    report = fabricated.fabricate_run(tmp_path, more_right={10: (6, 6)}).report
    assert report.regimes[0].unlabelled == ()


@pytest.mark.parametrize(
    ("ends", "said"), [((0.01, 0.03), "95% interval +1.00 to +3.00"), ((None, None), "no interval")]
)
def test_sentence_names_both_rivals_and_both_intervals(ends: tuple[float | None, float | None], said: str) -> None:
    gain = Gain(mean=0.02, values=(), low=ends[0], high=ends[1], p_value=None, verdict="helps", parts=None)
    sentence = unlabelled_sentence(
        UnlabelledGains(
            arm="fixmatch+synthetic",
            over_labelled=BestGain(gain=gain, over="real+classical", num_rivals=3),
            over_partners=BestGain(gain=gain, over="fixmatch", num_rivals=1),
        ),
        confidence=0.95,
    )
    assert sentence.count(said) == 2
    assert "over real+classical, the best of 3 arms of labelled images alone" in sentence
    assert "+2.00 points over fixmatch (" in sentence
