import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from data.base.errors import AugmentError, UsageError
from data.decoding import encode_pngs
from flows.commands.datasets import datasets, half_blocks, inspect, shades

ROOT = Path(__file__).parents[3]

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


def test_every_kind_is_listed():
    output = invoke("datasets").output
    assert all(f"{kind}:PATH" in output for kind in ("folder", "parquet", "arrow", "npz", "csv", "jsonl", "idx"))


def test_inspect_shows_counts_copies_and_regimes(folder):
    (folder / "cat" / "again.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    output = invoke("inspect", f"folder:{folder}").output
    assert "33 images to train on, 8 to test on, 8x8 grayscale, values 0 to 239, 2 classes" in output
    assert "[red]dog" in output
    assert "regimes: 10, all" in output
    assert "duplicates: 1 within train" in output
    assert "near copies: 0 of 8 test images looked at" in output
    assert any("#" in line for line in output.splitlines()[-20:])


def test_inspect_counts_images_of_several_classes_whatever_else_is_noted(folder):
    (folder / "cat" / "other.png").write_bytes((folder / "[red]dog" / "0.png").read_bytes())
    assert "1 images occur with different labels" in invoke("inspect", f"folder:{folder}").output


def test_inspect_takes_the_data_set_as_an_option_too(folder):
    assert invoke("inspect", "--dataset", f"folder:{folder}").output == invoke("inspect", f"folder:{folder}").output
    for given in ((), ("digits", "--dataset", "mnist")):
        with pytest.raises(UsageError, match="name one data set"):
            invoke("inspect", *given)


def test_inspect_says_how_it_was_read(folder):
    (folder / "notes.txt").write_text("x")
    (folder / "cat" / "bad.png").write_bytes(b"x")
    output = invoke("inspect", f"folder:{folder}", "--set", "data.bad_images=leave-out").output
    assert "\n  class folders\n" in output
    assert "\n  train: 2 classes, 41 images\n" in output
    assert "note: 1 files were left out: 1 .txt files" in output
    assert "left out: " in output.replace("\n", "")
    assert "bad.png: the image cannot be decoded" in output


def test_inspect_counts_images_without_labels_and_copies_among_them(folder, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        (more / f"{number}.png").write_bytes(file.read_bytes())
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(more / "new.png")
    output = invoke("inspect", f"folder:{folder}", "--set", f"data.unlabelled=folder:{more}").output.replace("\n", " ")
    assert "without labels: 1 images of folder:more, up to 5,000 for a cell; copies were left out, 8 of test" in output
    assert "32 of labelled ones" in output


def test_inspect_says_what_the_rest_of_the_pool_is(folder):
    output = invoke("inspect", f"folder:{folder}", "--set", "data.unlabelled=pool").output.replace("\n", " ")
    assert "up to 5,000 images that a subset leaves of the 32 to train on; copies of test images are left out" in output


def test_what_was_left_out_is_written_in_full(folder, tmp_path):
    for number in range(30):
        (folder / "cat" / f"bad{number}.png").write_bytes(b"x")
    arguments = ("inspect", f"folder:{folder}", "--set", "data.bad_images=leave-out")
    assert "and 10 more (--left-out FILE lists all)" in invoke(*arguments).output
    invoke(*arguments, "--left-out", str(tmp_path / "list.txt"))
    assert len((tmp_path / "list.txt").read_text().splitlines()) == 30


def test_the_advice_of_a_refusal_can_be_followed(folder, striped):
    for content in encode_pngs(np.zeros((1, 1, 12, 12), np.uint8)):
        (folder / "cat" / "large.png").write_bytes(content)
    with pytest.raises(AugmentError, match=r"--set data\.resize=32"):
        invoke("inspect", f"folder:{folder}")
    assert "32x32" in invoke("inspect", f"folder:{folder}", "--set", "data.resize=32").output


def test_blank_data_are_shouted_about(folder):
    for file in sorted((folder / "cat").iterdir())[1:]:
        file.write_bytes(encode_pngs(np.zeros((1, 1, 8, 8), np.uint8))[0])
    for file in sorted((folder / "[red]dog").iterdir())[5:]:
        file.write_bytes(encode_pngs(np.zeros((1, 1, 8, 8), np.uint8))[0])
    assert "THE IMAGES ARE NEARLY BLANK: 34 of 40 images" in invoke("inspect", f"folder:{folder}").output


def test_of_many_classes_the_first_are_listed(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(100):
        (tmp_path / str(number)).mkdir()
        for row, content in enumerate(encode_pngs(rng.integers(0, 256, (2, 1, 8, 8), dtype=np.uint8))):
            (tmp_path / str(number) / f"{row}.png").write_bytes(content)
    output = invoke("inspect", f"folder:{tmp_path}").output
    assert "… 40 more classes" in output


def test_looking_at_a_folder_imports_neither_torch_nor_torchvision(folder):
    script = """
import sys
from data.config import DataConfig
from data.inspection import inspect_source
from data.sources.registry import known_datasets, load_source
known_datasets()
inspect_source(load_source(DataConfig(dataset=sys.argv[1])))
print([name for name in ("torch", "torchvision", "pyarrow", "pandas", "sklearn") if name in sys.modules])
"""
    finished = subprocess.run(
        [sys.executable, "-c", script, f"folder:{folder}"], capture_output=True, text=True, cwd=ROOT
    )
    assert finished.stdout.strip() == "[]", finished.stderr


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
