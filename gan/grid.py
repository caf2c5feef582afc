"""The picture after every epoch: generated images beside real ones of the same classes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from data.base.files import write_atomically


def write_grid(
    path: Path,
    *,
    real: npt.NDArray[np.uint8],
    fake: npt.NDArray[np.uint8],
    columns: int,
    zoom: int = 2,
) -> None:
    """Write a PNG: left half real images, right half fake ones, one row per class.

    Args:
        real, fake: (rows * columns, C, H, W) uint8, row after row.
    """
    gap = np.full((len(real) // columns * real.shape[2], real.shape[3] // 4, real.shape[1]), 255, np.uint8)
    picture = np.concatenate([_tile(real, columns), gap, _tile(fake, columns)], axis=1)
    picture = picture.repeat(zoom, 0).repeat(zoom, 1)
    image = Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture)
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG", optimize=True))


def _tile(images: npt.NDArray[np.uint8], columns: int) -> npt.NDArray[np.uint8]:
    count, channels, height, width = images.shape
    tiles = images.reshape(count // columns, columns, channels, height, width)
    return tiles.transpose(0, 3, 1, 4, 2).reshape(count // columns * height, columns * width, channels)
