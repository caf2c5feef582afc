"""What the site takes from the code."""

import re

import pytest

from docs import generate
from flows.cli import COMMANDS
from flows.study.config import StudyConfig

ROOT = generate.ROOT


def test_every_command_has_its_section() -> None:
    sections = re.findall(r"^## `augment (\w+)`$", generate.commands_page(), re.MULTILINE)
    assert sections == list(COMMANDS)


def test_an_option_is_described_in_its_commands_section() -> None:
    (section,) = re.findall(r"^## `augment plan`$(.*?)^## ", generate.commands_page(), re.MULTILINE | re.DOTALL)
    assert "`--wished-gain" in section


def test_every_key_of_the_configuration_has_a_row() -> None:
    page = generate.configuration_page()
    keys = set(re.findall(r"^\| `([a-z_0-9.]+)` \|", page.split("## Presets")[0], re.MULTILINE))
    flat = set(generate.flatten_config(StudyConfig().model_dump()))
    assert flat <= keys
    assert keys - flat == {"runner.kind", "runner.workers", "runner.address"}


def test_presets_differ_where_the_page_says_so() -> None:
    rows = generate.configuration_page().split("## Presets")[1]
    assert "| `gan.steps` | 1500 | 2000 | 3000 |" in rows
    assert "gan.batch_size" not in rows


def test_limits_of_a_key_are_said_in_words() -> None:
    assert "| `data.folds` | whole number from 2 to 20 or `auto` | auto |" in generate.configuration_page()


def test_no_module_imports_in_a_circle() -> None:
    assert generate.circles(generate.module_imports()) == []


def test_a_circle_is_found_with_what_leads_to_it() -> None:
    imports = {"a": frozenset("b"), "b": frozenset("a"), "c": frozenset("a"), "d": frozenset()}
    assert generate.circles(imports) == ["a", "b", "c"]


def test_a_room_stands_above_all_that_it_imports() -> None:
    imports = generate.rooms().imports
    height = generate.heights(imports)
    assert all(height[room] > height[other] for room, others in imports.items() for other in others)


def test_rooms_that_import_each_other_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="circle"):
        generate.heights({"a": frozenset("b"), "b": frozenset("a")})


def test_an_import_that_a_chain_implies_is_not_drawn() -> None:
    imports = {"top": frozenset({"middle", "bottom"}), "middle": frozenset({"bottom"}), "bottom": frozenset[str]()}
    assert generate.without_shortcuts(imports) == [("top", "middle"), ("middle", "bottom")]


def test_every_module_is_in_a_room() -> None:
    rooms = generate.rooms()
    assert sorted(module for members in rooms.modules.values() for module in members) == list(generate.module_imports())


def test_the_newest_row_of_a_measurement_is_shown(tmp_path, monkeypatch) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "RESULTS.md").write_text(
        "# Results\n\n| date | command | what | figure |\n|---|---|---|---|\n"
        "| 1 | `python -m benchmarks.cost` | time | 5 s |\n| 2 | the same | memory | 1 GiB |\n"
        "| 3 | `python -m benchmarks.cost --again` | time | 4 s |\n"
    )
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.latest_results().splitlines()[2:] == [
        "| date | command | what | figure |",
        "|---|---|---|---|",
        "| 3 | `python -m benchmarks.cost --again` | time | 4 s |",
        "| 2 | `python -m benchmarks.cost` | memory | 1 GiB |",
    ]


def test_every_gap_in_a_page_can_be_filled() -> None:
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")]
    gaps = {name for page in pages for name in re.findall(r"<!-- generated: (\w+) -->", page)}
    assert gaps == set(generate.PARTS)
