import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from data.base.errors import UsageError
from data.decoding import encode_pngs
from flows.commands.datasets import datasets, half_blocks, inspect, shades

app = typer.Typer()
app.command()(datasets)
app.command()(inspect)


def invoke(*arguments):
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "160"}, catch_exceptions=False)


@pytest.fixture
def folder(tmp_path, striped):
    for name, label in (("cat", 0), ("[red]dog", 1)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number, content in enumerate(encode_pngs(striped.images[striped.labels == label])):
            (tmp_path / "set" / name / f"{number}.png").write_bytes(content)
    return tmp_path / "set"


def test_the_list_says_what_is_here(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_DATA", str(tmp_path))
    lines = invoke("datasets").output.splitlines()
    assert any(line.startswith("digits") and "yes" in line for line in lines)
    assert any(line.startswith("usps") and "fetched on first use" in line for line in lines)
    assert any(line.startswith("folder:PATH") for line in lines)


def test_inspect_shows_counts_duplicates_and_regimes(folder):
    (folder / "cat" / "again.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    output = invoke("inspect", f"folder:{folder}").output
    assert "33 images to train on, 8 to test on, 8x8 grayscale, 2 classes" in output
    assert "[red]dog" in output
    assert "regimes: 10, all" in output
    assert "duplicates:" in output
    assert any("#" in line for line in output.splitlines()[-20:])


def test_the_picture_is_written_as_png(folder, tmp_path):
    invoke("inspect", f"folder:{folder}", "--output", str(tmp_path / "grid.png"))
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (3 * (12 * 9 - 1), 3 * (2 * 9 - 1))


def test_a_size_that_networks_cannot_take(folder):
    with pytest.raises(UsageError, match=r"data\.resize"):
        invoke("inspect", f"folder:{folder}", "--resize", "30")


def test_half_blocks_draw_two_rows_a_line():
    picture = np.zeros((3, 2, 3), np.uint8)
    picture[0, 0] = (255, 0, 0)
    text = half_blocks(picture)
    assert text.plain == "▀▀\n▀▀\n"
    assert str(text.spans[0].style) == "rgb(255,0,0) on rgb(0,0,0)"


def test_without_colours_brighter_pixels_are_denser():
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[:, 1], picture[:, 2] = 128, 255
    assert shades(picture).plain == " +@\n"
