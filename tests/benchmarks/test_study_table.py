"""The table of docs/studies.md, of fabricated reports."""

from pathlib import Path

import pytest

import benchmarks.results
from benchmarks.results import commit_of
from benchmarks.study_table import BEGIN, END, PAGE, renew_table, table_rows
from evaluation.reporting.report import StudyReport
from tests.evaluation import fabricated


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.split("|")[1:-1]]


@pytest.fixture
def report(tmp_path: Path) -> StudyReport:
    """42 of 60 right without the GAN; with it 6 more at 10 images per class, and 1 fewer on average at 100."""
    return fabricated.fabricate_run(tmp_path, more_right={10: (6, 7, 6, 5), 100: (0, -1, -2, -1)}).report


def test_a_row_holds_both_arms_the_gain_and_the_verdict_of_its_regime(report: StudyReport) -> None:
    ten, hundred = (cells(row) for row in table_rows("few-labels", report, commit="abc1234"))
    first, second = report.regimes
    assert ten[:3] == ["few-labels", f"{report.dataset.name}, {first.title}", "4"]
    assert ten[3:5] == ["real+classical+synthetic, 80.00 %", "real+classical, 70.00 %"]
    assert ten[5].startswith("+10.00 (")
    assert ten[7].startswith("+10.00 (")
    assert ten[8] == "abc1234"
    assert hundred[5].startswith("-1.67 (")
    assert [ten[6], hundred[6]] == [first.headline.verdict, second.headline.verdict]


def test_one_draw_has_no_interval_and_the_table_says_so(tmp_path: Path) -> None:
    report = fabricated.fabricate_run(tmp_path, more_right={10: (6,)}).report
    (row,) = table_rows("one", report, commit="")
    assert cells(row)[5] == "+10.00 (no interval)"


def test_an_arm_that_uses_images_without_labels_is_held_against_partners_that_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabricated.add_arms(monkeypatch, {"fixmatch": 50, "fixmatch+synthetic": 53})
    report = fabricated.fabricate_run(tmp_path, more_right={10: (6, 6, 6, 6)}).report
    headline, combined = (cells(row) for row in table_rows("unlabelled", report, commit=""))
    assert headline[4].startswith("fixmatch, 83.33 %")
    assert combined[3:5] == ["fixmatch+synthetic, 88.33 %", "fixmatch, 83.33 %"]
    assert combined[5].startswith("+5.00")
    assert combined[7] == "not measured"


def test_the_arm_that_evens_out_classes_is_held_against_all_without_by_macro_f1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabricated.add_arms(monkeypatch, {"oversampled": 44, "class-weighted": 56, "evened-out": 48})
    report = fabricated.fabricate_run(tmp_path, more_right={10: (6, 6, 6, 6)}).report
    _, evened = (cells(row) for row in table_rows("rare-classes", report, commit=""))
    assert evened[3].startswith("evened-out, macro-F1 ")
    assert evened[4].startswith("class-weighted, macro-F1 ")
    assert evened[6] == "hurts"


def test_a_path_in_a_data_sets_name_is_not_published(report: StudyReport) -> None:
    facts = report.dataset.model_copy(update={"name": "parquet:/home/somebody/secret/birds"})
    row = table_rows("x", report.model_copy(update={"dataset": facts}), commit="")[0]
    assert cells(row)[1].startswith("parquet:birds, ")


def test_a_study_that_ran_again_has_its_new_rows_and_others_keep_theirs(tmp_path: Path) -> None:
    page = tmp_path / "studies.md"
    page.write_text(f"# Title\n\n{BEGIN}\n{END}\n\nAfter.\n")
    renew_table({"b": ["| b | old |"], "a": ["| a | 1 |", "| a | 2 |"]}, page)
    renew_table({"b": ["| b | new |"]}, page)
    text = page.read_text()
    assert text.startswith("# Title\n\n")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert text.split(BEGIN)[1].split(END)[0].strip().splitlines()[2:] == ["| a | 1 |", "| a | 2 |", "| b | new |"]


def test_a_report_alone_has_the_commit_of_the_newest_rows_of_its_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "RESULTS.md"
    results.write_text(
        "| date, commit | command | machine | what | figure |\n|---|---|---|---|---|\n"
        "| 2026-11-26 | `x` | a GPU | few-labels, 10 images per class: real | 1 |\n"
        "| 2026-11-27 aaaaaaa | `x` | a GPU | few-labels, 10 images per class: real | 1 |\n"
        "| 2026-11-28 bbbbbbb+ | `x` | a GPU | few-labels, 10 images per class: real | 2 |\n"
        "| 2026-11-29 ccccccc | `x` | a GPU | few-labels-validation, 10 images per class: real | 3 |\n"
    )
    monkeypatch.setattr(benchmarks.results, "RESULTS", results)
    assert commit_of("few-labels, ") == "bbbbbbb+"
    assert commit_of("rare-classes, ") == ""


def test_the_page_of_the_docs_has_a_place_for_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8").count(BEGIN) == PAGE.read_text(encoding="utf-8").count(END) == 1
