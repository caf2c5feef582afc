"""report.html as text: what it says, how large it is, that it repeats and lets nothing through."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from data.base.errors import CorruptFileError
from evaluation.arms import ARMS, default_arms
from evaluation.checks import Check, Grade
from evaluation.fidelity import Fidelity, FidelityFigures, FidelityPair, Measurement
from evaluation.membership import Membership, attack
from evaluation.reporting.page import write_page
from evaluation.reporting.palette import arm_style, css_variables
from evaluation.reporting.rendering import count, duration, interval, memory, p_value, percent, points, probability
from evaluation.reporting.report import StudyCheck
from evaluation.samples import SampleEvaluation
from evaluation.verdicts import Needed
from tests.evaluation.fabricated import FabricatedRun, fabricate_run

MORE_RIGHT = {10: (17, 18, 17, 18), 100: (-2, 3, 0, -1)}
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "$x_2$ \x00{{ 7 * 7 }}")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FabricatedRun:
    return fabricate_run(tmp_path_factory.mktemp("run"), more_right=MORE_RIGHT)


@pytest.fixture(scope="module")
def page(run: FabricatedRun) -> str:
    return run.write_page().read_text()


class Outline(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.slow
def test_same_inputs_give_the_same_bytes(run: FabricatedRun, page: str) -> None:
    assert run.write_page().read_text() == page


def test_every_sentence_of_the_verdict_is_on_the_page(run: FabricatedRun, page: str) -> None:
    assert all(regime.sentence in page for regime in run.report.regimes)


def test_regimes_that_differ_are_told_apart_in_the_title(page: str) -> None:
    assert (
        "It depends on how much labelled data there is: helps with 10 per class; undecided with 100 per class</h1>"
    ) in page


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    links = [value for _, attributes in Outline(page).tags for key in ("src", "href") if (value := attributes.get(key))]
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)


def test_ids_are_unique_and_references_resolve(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Outline(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {target for target in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page) for target in target if target}
    assert targets <= set(ids)


def test_every_picture_has_an_alternative_text(page: str) -> None:
    outline = Outline(page)
    assert all(attributes.get("alt") for attributes in outline.of("img"))
    assert all(attributes.get("aria-label") for attributes in outline.of("svg"))


def test_every_table_has_caption_and_scoped_headings(page: str) -> None:
    outline = Outline(page)
    assert len(outline.of("caption")) == len(outline.of("table"))
    assert all(attributes.get("scope") in ("col", "row") for attributes in outline.of("th"))


def test_every_replicate_is_shown_to_the_statistician(run: FabricatedRun, page: str) -> None:
    assert ", ".join(points(value) for value in run.report.regimes[1].headline.values) in page


def test_the_policy_of_classical_augmentation_is_named_with_what_every_candidate_reached(page: str) -> None:
    assert "With 10 per class, the policy of classical augmentation is digits, the usual one" in page
    (table,) = re.findall(r"10 per class: the candidates for classical augmentation.*?</table>", page, re.DOTALL)
    cells = [text.replace("\N{NO-BREAK SPACE}", " ") for text in re.findall(r">([^<>\n]+)</t[hd]>", table)]
    assert cells[3:] == ["digits", "80.0 %", "4", "none", "75.0 %", "0"]


def test_cost_has_seconds_and_speed(page: str) -> None:
    row = re.search(r"train GAN</th>(.*?)</tr>", page, re.DOTALL)
    assert row is not None
    assert re.findall(r">([^<>\n]+)</td>", row.group(1))[:4] == ["8", "2 min 40 s", "20 s", "50"]


def test_control_that_rules_nothing_out_is_no_pass(page: str) -> None:
    assert "No check failed</a> of 2." in page


def test_control_that_gains_is_announced_at_the_top(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path, more_right={10: (5, 6, 5)})
    regime = run.report.regimes[0]
    cheat = StudyCheck(name="control: copies do not help", passed=False, detail="+9.00 points")
    cheating = FabricatedRun(
        directory=run.directory,
        report=run.report.model_copy(update={"regimes": (regime.model_copy(update={"checks": (cheat,)}),)}),
        cell_files=run.cell_files,
        test=run.test,
    )
    header, _, _ = cheating.write_page().read_text().partition("</header>")
    assert "1 of 1 checks failed</a>: control: copies do not help.</p>" in header


def test_what_the_error_is_made_of_adds_up(run: FabricatedRun, page: str) -> None:
    table = page[page.index("What the headline") : page.index("</table>", page.index("What the headline"))]
    shares = [float(share) for share in re.findall(r">(\d+)\xa0%</td>", table)]
    assert len(shares) == 8
    assert sum(shares) == pytest.approx(200, abs=4)


def test_undecided_regime_says_what_it_would_take(page: str) -> None:
    assert page.count("To decide it would take more test images") == 1
    assert "--until-decided</code>" not in page


def test_regime_that_more_replicates_decide_names_the_command(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path, more_right={10: (1, 2)})
    regime = run.report.regimes[0].model_copy(update={"needed": Needed(fewest=9, most=20, bottleneck="replicates")})
    page = FabricatedRun(
        directory=run.directory,
        report=run.report.model_copy(update={"regimes": (regime,)}),
        cell_files=run.cell_files,
        test=run.test,
    ).write_page()
    assert page.read_text().count("--until-decided</code>") == 1


def test_command_is_shown(page: str) -> None:
    assert "<pre><code>augment run --dataset stripes --seed 0</code></pre>" in page


@pytest.mark.slow
def test_warning_is_loud(tmp_path: Path) -> None:
    quiet = fabricate_run(tmp_path / "quiet", more_right={10: (1, 2)}).write_page().read_text()
    warned = fabricate_run(tmp_path / "loud", more_right={10: (1, 2)}, dataset={"warning": "no MNIST: digits"})
    assert 'class="banner"' not in quiet
    assert re.search(r'class="banner" role="alert".*no MNIST: digits', warned.write_page().read_text())


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    run = fabricate_run(
        tmp_path, more_right={10: (5, 6)}, class_names=HOSTILE, dataset={"name": HOSTILE[0], "warning": HOSTILE[1]}
    )
    page = run.write_page(environment={"versions": {HOSTILE[1]: HOSTILE[0]}}).read_text()
    outline = Outline(page)
    assert len(outline.of("script")) == 1
    assert not any("onerror" in attributes for attributes in outline.of("img"))
    assert "{{ 7 * 7 }}" in page


def test_one_replicate_is_no_verdict(tmp_path: Path) -> None:
    page = fabricate_run(tmp_path, more_right={10: (5,)}).write_page().read_text()
    assert "This study cannot tell</h1>" in page
    assert "no interval: an interval needs 2 replicates or more" in page


def test_page_without_test_images_has_no_flip_pictures(run: FabricatedRun, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, run.report, environment={}, cell_files=run.cell_files, command="augment run")
    assert "Test image" not in path.read_text()


def test_missing_predictions_leave_no_half_written_page(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path, more_right={10: (5, 6)})
    run.cell_files[1].predictions["real+classical"].unlink()
    with pytest.raises(CorruptFileError, match="predictions"):
        run.write_page()
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("changes", [None, {"grid": 5}, {"step": "many"}, {"grid": None}])
def test_foreign_history_is_named(changes: dict[str, object] | None, tmp_path: Path) -> None:
    run = fabricate_run(tmp_path, more_right={10: (5, 6)})
    history = run.cell_files[0].history
    changed = [{"step": 1}] if changes is None else [record | changes for record in json.loads(history.read_text())]
    history.write_text(json.dumps(changed))
    with pytest.raises(CorruptFileError, match=r"history\.json"):
        run.write_page()


GRADES: tuple[Grade, Grade] = ("passed", "failed")


def test_checks_of_the_samples_are_gathered_over_replicates(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path, more_right={10: (5, 6)})
    figure = Measurement(value=0.25)
    figures = FidelityFigures(
        num_images=9,
        num_reference=9,
        fid=figure,
        kid=figure,
        precision=figure,
        recall=figure,
        density=figure,
        coverage=figure,
        diversity=figure,
    )
    pair = FidelityPair(name="overall", synthetic=figures, floor=figures)

    scores = np.linspace(0, 1, 20)
    found = Membership(
        num_members=20,
        num_others=20,
        samples=attack(scores + 1, scores),
        baseline=attack(scores, scores),
        control=attack(scores, scores),
    )

    def samples(grade: Grade) -> SampleEvaluation:
        checks = (
            Check(name="no duplicates", grade=grade, figure=0.01, threshold=0.02, detail="as told"),
            Check(name="no data copying", grade="watch", figure=0.8, threshold=0.9, p_value=1e-9, detail="nearer"),
        )
        return SampleEvaluation.model_construct(
            checks=checks, membership=found, fidelity=Fidelity(features="", overall=pair, classes=())
        )

    cells = [
        cell.model_copy(update={"samples": samples(grade)})
        for cell, grade in zip(run.report.cells, GRADES, strict=True)
    ]
    judged = FabricatedRun(
        directory=run.directory,
        report=run.report.model_copy(update={"cells": tuple(cells)}),
        cell_files=run.cell_files,
        test=run.test,
    )
    page = judged.write_page().read_text()
    assert re.search(r"no duplicates</th>.*?✗ failed</span> <small class=\"nowrap\">1 of 2 passed", page, re.DOTALL)
    assert page.count('<td class="number">0.250</td>') == 14
    assert re.search(r"1 of \d checks failed</a>: no duplicates\.", page)
    assert re.search(r"no data copying</th>.*?! watch</span> <small class=\"nowrap\">0 of 2 passed", page, re.DOTALL)
    assert "On watch: no data copying." in page
    assert "samples give away who was in training: AUC 1.00" in page


@pytest.mark.slow
def test_large_study_stays_below_three_megabytes(tmp_path: Path) -> None:
    more_right = {number: tuple(range(-3, 7)) for number in (10, 50, 100, 500, 1000)}
    assert fabricate_run(tmp_path, more_right=more_right).write_page().stat().st_size < 3_000_000


def test_every_arm_has_a_look_of_its_own() -> None:
    styles = [arm_style(arm) for arm in ARMS]
    assert len({(style.light, style.marker) for style in styles}) == len(styles)
    assert len({style.light for style in map(arm_style, default_arms())}) == len(default_arms())


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("background", ["--page", "--panel"])
@pytest.mark.parametrize("name", [name for name in css_variables() if name not in ("--page", "--panel", "--line")])
def test_contrast_suffices(name: str, background: str, mode: int) -> None:
    """WCAG 2.2: 4.5 for text, 3 for marks in charts."""
    bright, dim = sorted((luminance(css_variables()[key][mode]) for key in (name, background)), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= (3 if name.startswith("--arm") else 4.5)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.94021), "94.02\N{NO-BREAK SPACE}%"),
        (points(0.00421), "+0.42"),
        (points(-1e-9), "+0.00"),
        (points(None), "\N{EN DASH}"),
        (interval(-0.001, 0.007), "-0.10 to +0.70"),
        (interval(None, None), "not available"),
        (p_value(0.0004), "< 0.001"),
        (p_value(0.0312), "0.031"),
        (duration(0.42), "0.4 s"),
        (duration(59.7), "1 min 00 s"),
        (duration(7623), "2 h 07 min"),
        (memory(3 * 2**30), "3.0 GiB"),
        (memory(300 * 2**20), "300 MiB"),
        (count(12345.6), "12,346"),
    ],
)
def test_figures_have_sensible_digits_and_units(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(("value", "said"), [(1.0, "more than 99"), (0.0, "less than 1"), (0.72, "72")])
def test_no_gain_is_said_to_be_sure(value: float, said: str) -> None:
    assert probability(value).removesuffix("\N{NO-BREAK SPACE}%") == said
