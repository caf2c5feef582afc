"""The notebook of docs/ runs from its first cell to its last, and holds what it showed."""

import copy

import pytest

from docs import generate
from docs.notebook import execute, notebook_page, read_notebook

TINY = {
    "REPLICATES": 2,
    "SETTINGS": {
        "data.images_per_class": (4,),
        "gan.steps": 3,
        "gan.batch_size": 8,
        "gan.generator_width": 4,
        "gan.discriminator_width": 4,
        "sampling.images_per_class": 6,
        "evaluation.arms": ("real", "real+classical", "real+classical+synthetic"),
        "evaluation.policy": "digits",
        "evaluation.classifier_seeds": 1,
        "evaluation.classifier.steps": 4,
        "evaluation.classifier.width": 4,
        "evaluation.samples.features.steps": 4,
        "evaluation.samples.features.width": 4,
        "compute.device": "cpu",
    },
}


def kinds(notebook):
    """Return what each cell shows: the kinds of its outputs."""
    return [
        [sorted(output.get("data", {"text": ""})) for output in cell["outputs"]]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


@pytest.mark.timeout(600)
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
