"""A stage's code is what its function imports: a chart's colour changes no digest, the stage's own module does."""

import ast
from pathlib import Path

import pytest

from flows.study import code
from flows.study.code import code_digest, imported_modules, library_versions
from flows.study.stages.table import STAGES

KINDS = {kind.name for kind in STAGES}
ROOT = code.ROOT


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Return the names of the stages whose digest a line more in a file changes."""

    def digests() -> dict[str, set[str]]:
        code_digest.cache_clear()
        return {name: {code_digest(kind.module) for kind in STAGES if kind.name == name} for name in KINDS}

    def changed_by(file: str) -> set[str]:
        before, read = digests(), Path.read_bytes

        def read_bytes(path: Path) -> bytes:
            return read(path) + (b"\n# more" if path == ROOT / file else b"")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", read_bytes)
            after = digests()
        code_digest.cache_clear()
        return {name for name in KINDS if before[name] != after[name]}

    return changed_by


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("evaluation/reporting/palette.py", set()),
        ("evaluation/reporting/charts.py", set()),
        ("flows/server.py", set()),
        ("flows/study/engine.py", set()),
        ("flows/study/stages/generator.py", {"generator"}),
        ("flows/study/stages/fitting.py", {"labelling", "arm"}),
        ("gan/losses.py", {"generator"}),
        ("gan/export.py", {"generator", "synthetic"}),
        ("evaluation/classifiers.py", {"policy", "labelling", "arm"}),
        ("evaluation/filtering.py", {"labelling", "arm"}),  # imported inside a function
        ("evaluation/fidelity.py", {"samples"}),
        ("data/images.py", set(KINDS)),
    ],
)
def test_a_changed_file_changes_the_stages_that_import_it(changed, file: str, stages: set[str]) -> None:  # type: ignore[no-untyped-def]
    assert changed(file) == stages


def test_imports_for_type_checkers_do_not_count() -> None:
    assert "evaluation.protocol" not in imported_modules("evaluation.arms")


def test_packages_count_with_their_modules() -> None:
    assert {"data", "data.base", "data.base.errors"} <= set(imported_modules("data.base.files"))


def test_libraries_that_compute_are_named_with_their_versions() -> None:
    assert {"torch", "numpy"} <= library_versions("gan.training").keys()
    assert library_versions("data.base.errors") == {}


def test_parsing_that_another_thread_disturbed_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, disturbed = ast.parse, [True, True]

    def sometimes(source: str) -> ast.AST:
        if disturbed and disturbed.pop():
            raise SystemError("AST constructor recursion depth mismatch (before=108, after=104)")
        return parse(source)

    code._imports.cache_clear()
    monkeypatch.setattr(code.ast, "parse", sometimes)
    assert "gan.losses" in code._imports("gan.game")
    assert not disturbed
