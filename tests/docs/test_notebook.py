"""The notebook of docs/ runs from its first cell to its last, and holds what it showed."""

import copy

import pytest

from docs import generate
from docs.notebook import execute, notebook_page, read_notebook
from tests.smallest import SMALLEST

TINY = {"REPLICATES": 2, "SETTINGS": SMALLEST}


def kinds(notebook):
    """Return what each cell shows: the kinds of its outputs."""
    return [
        [sorted(output.get("data", {"text": ""})) for output in cell["outputs"]]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_cell_runs_and_shows_what_is_stored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored = read_notebook()
    notebook = copy.deepcopy(stored)
    execute(notebook, TINY)
    assert kinds(notebook) == kinds(stored)


def test_page_shows_code_tables_and_pictures():
    page = notebook_page()
    assert generate.PAGES["notebook.md"] is notebook_page
    assert "```python\ndigits = load_digits()" in page
    assert page.count("<img ") == 3
    assert "<table" in page
