"""The film of a training."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.base.errors import CorruptFileError
from evaluation.reporting.film import Epoch, Film, make_film
from gan.grid import write_grid

SHAPE = (1, 28, 28)


def write_history(directory: Path, count: int) -> list[Epoch]:
    rng = np.random.default_rng(0)
    real = np.full((6, *SHAPE), 40, np.uint8)
    history = []
    for number in range(count):
        fake = rng.integers(200, 256, (6, *SHAPE), dtype=np.uint8)
        write_grid(directory / f"{number}.png", real=real, fake=fake, columns=3)
        history.append(
            Epoch(
                step=number,
                epochs=float(number),
                discriminator_loss=1.0,
                generator_loss=1.0,
                kernel_distance=0.1,
                grid=f"{number}.png",
            )
        )
    return history


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("L"))


def film_of(directory: Path, count: int, budget_bytes: int = 10**6) -> Film:
    film = make_film(write_history(directory, count), directory, image_shape=SHAPE, budget_bytes=budget_bytes)
    assert film is not None
    return film


def test_halves_are_cut_apart_where_the_gap_is(tmp_path: Path) -> None:
    film = film_of(tmp_path, 1)
    assert (film.width, film.height) == (3 * 28, 2 * 28)
    assert pixels(film.real).max() < 60
    assert pixels(film.frames[0].picture).min() > 150


def test_colour_grids_are_cut_too(tmp_path: Path) -> None:
    real, fake = (np.full((4, 3, 32, 32), value, np.uint8) for value in (10, 200))
    write_grid(tmp_path / "0.png", real=real, fake=fake, columns=2)
    history = [replace(write_history(tmp_path / "gray", 1)[0], grid="0.png")]
    film = make_film(history, tmp_path, image_shape=(3, 32, 32), budget_bytes=10**6)
    assert film is not None
    assert (film.width, film.height) == (64, 64)
    assert pixels(film.real).max() < 30
    assert pixels(film.frames[0].picture).min() > 180


def test_long_training_keeps_first_and_last_of_few_frames(tmp_path: Path) -> None:
    film = film_of(tmp_path, 40)
    assert len(film.frames) == 12
    assert (film.frames[0].step, film.frames[-1].step) == (0, 39)


def test_film_keeps_its_budget(tmp_path: Path) -> None:
    film = film_of(tmp_path, 40, budget_bytes=12_000)
    assert len(film.real) + sum(len(frame.picture) for frame in film.frames) <= 12_000
    assert (film.frames[0].step, film.frames[-1].step) == (0, 39)


def test_no_history_no_film(tmp_path: Path) -> None:
    assert make_film([], tmp_path, image_shape=SHAPE, budget_bytes=1000) is None


def test_picture_that_is_no_grid_is_named(tmp_path: Path) -> None:
    history = write_history(tmp_path, 1)
    Image.new("L", (50, 50)).save(tmp_path / "0.png")
    with pytest.raises(CorruptFileError, match="is not a grid"):
        make_film(history, tmp_path, image_shape=SHAPE, budget_bytes=1000)


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\nrubbish"])
def test_damaged_grid_is_named(tmp_path: Path, content: bytes | None) -> None:
    history = write_history(tmp_path, 1)
    (tmp_path / "0.png").unlink()
    if content is not None:
        (tmp_path / "0.png").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"0\.png"):
        make_film(history, tmp_path, image_shape=SHAPE, budget_bytes=1000)
