"""The picture after every epoch: generated images beside real ones of the same classes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from data.files import write_atomically

FOOT_HEIGHT = 20  # pixels, for one line of Pillow's built-in bitmap font


def write_grid(
    path: Path,
    *,
    real: npt.NDArray[np.uint8],
    fake: npt.NDArray[np.uint8],
    columns: int,
    caption: str,
    zoom: int = 2,
) -> None:
    """Write a PNG: left half real images, right half fake ones, one row per class, and `caption` on a white foot.

    Args:
        real, fake: (rows * columns, C, H, W) uint8, row after row.
    """
    gap = np.full((len(real) // columns * real.shape[2], real.shape[3] // 4, real.shape[1]), 255, np.uint8)
    picture = np.concatenate([_tile(real, columns), gap, _tile(fake, columns)], axis=1)
    picture = picture.repeat(zoom, 0).repeat(zoom, 1)
    image = Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture)
    page = Image.new(image.mode, (image.width, image.height + FOOT_HEIGHT), "white")
    page.paste(image)
    ImageDraw.Draw(page).text((4, image.height + 4), caption, fill="black", font=ImageFont.load_default_imagefont())
    write_atomically(path, lambda temporary: page.save(temporary, format="PNG", optimize=True))


def _tile(images: npt.NDArray[np.uint8], columns: int) -> npt.NDArray[np.uint8]:
    count, channels, height, width = images.shape
    tiles = images.reshape(count // columns, columns, channels, height, width)
    return tiles.transpose(0, 3, 1, 4, 2).reshape(count // columns * height, columns * width, channels)
