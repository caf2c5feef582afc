"""The film of a GAN's training, cut from the grids written after each epoch: small pictures inside the page."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from data.base.errors import CorruptFileError
from data.base.files import is_below

MAX_FRAMES = 12
QUALITIES = (80, 60, 40, 25)
MAX_SIDE = 320  # pixels
MAX_ZOOM = 8
MAX_PICTURE_WIDTH = 960


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The generator's samples at the end of one epoch; `picture` is a data URI."""

    step: int
    epochs: float
    kernel_distance: float
    picture: str


@dataclass(frozen=True, kw_only=True)
class Film:
    """Real images, and beside them the generated ones of the same classes at each stage of training."""

    real: str
    frames: tuple[Frame, ...]
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One record of a generator's `history.json`."""

    step: int
    epochs: float
    discriminator_loss: float
    generator_loss: float
    kernel_distance: float
    grid: str


def make_film(
    history: Sequence[Epoch], directory: Path, *, image_shape: tuple[int, int, int], budget_bytes: int
) -> Film | None:
    """Cut a film of at most `budget_bytes` (as data URIs) from the grids that `history` names below `directory`.

    It keeps the first and the last grid and spreads the others evenly. Where the pictures are too large, quality is
    given up first, then frames, then size. None where nothing was recorded.

    Args:
        image_shape: (C, H, W) of one image; it tells where in a grid the real half ends.

    Raises:
        CorruptFileError: a grid is missing or damaged.
    """
    if not history:
        return None
    chosen = _spread_over(history, MAX_FRAMES)
    for epoch in chosen:
        if not is_below(directory, epoch.grid):
            raise CorruptFileError(f"{directory / 'history.json'} names a picture outside of it: {epoch.grid!r}")
    halves = {epoch.step: _read_halves(directory / epoch.grid, image_shape) for epoch in chosen}
    count, side = len(chosen), MAX_SIDE
    while True:
        for quality in QUALITIES:
            film = _encode(_spread_over(chosen, count), halves, side=side, quality=quality)
            if len(film.real) + sum(len(frame.picture) for frame in film.frames) <= budget_bytes:
                return film
        if side <= 32 and count <= 2:
            return film
        count, side = max(2, count // 2), max(32, side * 3 // 4)


def picture_uri(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    """Return one (C, H, W) uint8 image as a PNG data URI."""
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return _data_uri(stream.getvalue(), "png")


def file_uri(path: Path) -> str:
    """Return a picture file, scaled down to fit a page, as a data URI.

    Raises:
        CorruptFileError: missing or not a picture.
    """
    try:
        with Image.open(path) as picture:
            copy = picture.convert("L" if picture.mode == "L" else "RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise CorruptFileError(f"{path} is missing or not a picture; evaluate this cell again") from error
    copy.thumbnail((MAX_PICTURE_WIDTH, MAX_PICTURE_WIDTH), Image.Resampling.BOX)
    return _webp(copy, QUALITIES[0])


def _spread_over(history: Sequence[Epoch], count: int) -> list[Epoch]:
    places = np.linspace(0, len(history) - 1, min(count, len(history))).round().astype(int)
    return [history[place] for place in places]


def _read_halves(path: Path, image_shape: tuple[int, int, int]) -> tuple[Image.Image, Image.Image]:
    try:
        with Image.open(path) as picture:
            picture.load()
            grid = picture.convert("L" if image_shape[0] == 1 else "RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise CorruptFileError(f"{path} is missing or not a picture; train this cell's generator again") from error
    zoom = _zoom(grid.width, grid.height, image_shape)
    if zoom is None:
        raise CorruptFileError(f"{path} is not a grid of such images; train this cell's generator again")
    half = (grid.width - zoom * (image_shape[2] // 4)) // 2
    parts = grid.crop((0, 0, half, grid.height)), grid.crop((grid.width - half, 0, grid.width, grid.height))
    size = (half // zoom, grid.height // zoom)
    return parts[0].resize(size, Image.Resampling.NEAREST), parts[1].resize(size, Image.Resampling.NEAREST)


def _zoom(width: int, height: int, image_shape: tuple[int, int, int]) -> int | None:
    """Return how often each pixel was repeated: the factor that leaves whole images on both sides of the gap."""
    _, image_height, image_width = image_shape
    for zoom in range(1, MAX_ZOOM + 1):
        whole_columns = (width // zoom - image_width // 4) % (2 * image_width) == 0
        if width % zoom == 0 and height % (zoom * image_height) == 0 and whole_columns:
            return zoom
    return None


def _encode(
    epochs: Sequence[Epoch], halves: dict[int, tuple[Image.Image, Image.Image]], *, side: int, quality: int
) -> Film:
    real = _small(halves[epochs[-1].step][0], side)
    frames = tuple(
        Frame(
            step=epoch.step,
            epochs=epoch.epochs,
            kernel_distance=epoch.kernel_distance,
            picture=_webp(_small(halves[epoch.step][1], side), quality),
        )
        for epoch in epochs
    )
    return Film(real=_webp(real, quality), frames=frames, width=real.width, height=real.height)


def _small(picture: Image.Image, side: int) -> Image.Image:
    copy = picture.copy()
    copy.thumbnail((side, side), Image.Resampling.LANCZOS)
    return copy


def _webp(picture: Image.Image, quality: int) -> str:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=quality, method=4)
    return _data_uri(stream.getvalue(), "webp")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
