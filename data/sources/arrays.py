"""Images that are plain numbers: nested or flat, whole or not, of any depth."""

from typing import Any

import numpy as np
import numpy.typing as npt

from data.base.errors import AugmentError, CorruptFileError
from data.base.limits import MAX_IMAGE_PIXELS, check_limit
from data.decoding import WHITE, Picture, Trait, on_ground

SMOOTHER = 0.8  # planes are believed in where they make an image this much smoother
MIN_RGB_SIDE = 4  # of a flat image
_LOOKED_AT = 32


class ArrayReader:
    """Turns arrays of numbers to pictures. Where rows are flat and RGB, the first rows show how they are ordered.

    Args:
        ground: grey level that transparent images are laid on.
        shape: of each image, where it is known; else it is seen from the array.
        axes: the order in which an image's axes lie in an array of `shape`; None: in their own.
    """

    def __init__(
        self, *, ground: int = WHITE, shape: tuple[int, ...] | None = None, axes: tuple[int, ...] | None = None
    ) -> None:
        self._ground, self._shape, self._axes = ground, shape, axes
        self._order: Trait = "interleaved"

    def look_at(self, rows: npt.NDArray[Any]) -> None:
        """Decide by the first of (N, D) flat rows how their colours are ordered: where the image is smoother."""
        side = _rgb_side(rows.shape[1])
        if self._shape is not None or _side(rows.shape[1]) or not side:
            return
        first = rows[:_LOOKED_AT].astype(np.float64)
        interleaved = _roughness(first.reshape(-1, side, side, 3))
        planar = _roughness(first.reshape(-1, 3, side, side).transpose(0, 2, 3, 1))
        self._order = "planar" if planar < SMOOTHER * interleaved else "interleaved"

    def picture(self, array: npt.NDArray[Any], *, where: str) -> Picture:
        """Return the picture of (H, W), (H, W, C), (C, H, W) or flat numbers, C = 1, 3 or 4 (the last is alpha).

        Raises:
            CorruptFileError: nothing, or numbers that are not finite.
            AugmentError: no numbers, or of a shape that no image has.
            LimitError: too many numbers.
        """
        check_limit(array.size, 4 * MAX_IMAGE_PIXELS, what=f"{where}: numbers of the raw image", advice="shrink it")
        array = _plain(array, where=where)
        traits: list[Trait] = []
        if self._shape is not None:
            array = array.reshape(self._shape).transpose(self._axes)
        elif array.ndim == 1:
            side, rgb_side = _side(array.size), _rgb_side(array.size)
            if side:
                array = array.reshape(side, side)
            elif rgb_side:
                traits.append(self._order)
                planar = self._order == "planar"
                array = array.reshape((3, rgb_side, rgb_side) if planar else (rgb_side, rgb_side, 3))
        if array.ndim == 2:
            return Picture(array[None], tuple(traits))
        if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
            array = array.transpose(1, 2, 0)
        if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
            raise AugmentError(
                f"{where}: a raw image of shape {array.shape}; (H, W), (H, W, C) or (C, H, W) is expected, or a flat "
                "square"
            )
        highest: int | None = None
        if array.shape[2] == 4:
            colours = array[..., :3]
            array = self._opaque(array, traits)
            highest = int(colours.max()) if "transparent" in traits and colours.dtype == np.int32 else None
        return Picture(np.ascontiguousarray(array.transpose(2, 0, 1)), tuple(traits), highest)

    def _opaque(self, array: npt.NDArray[Any], traits: list[Trait]) -> npt.NDArray[Any]:
        alpha = array[..., 3]
        full = 1.0 if array.dtype.kind == "f" and array.max() <= 1 else 255 if array.max() <= 255 else 65535
        if alpha.min() >= full:
            return array[..., :3]
        traits.append("transparent")
        return on_ground(array, self._ground / 255 * full, full)


def _plain(array: npt.NDArray[Any], *, where: str) -> npt.NDArray[Any]:
    """Return numbers as uint8 (8 bits or truth values), int32 (other whole numbers) or float32."""
    if array.dtype == np.uint8 and array.size:
        return array
    if array.size == 0 or array.dtype.kind not in "biuf":
        raise AugmentError(f"{where}: a raw image must hold numbers; convert it, or store PNG bytes")
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            numbers = array.astype(np.float32)
        if not np.isfinite(numbers).all():
            raise CorruptFileError(f"{where}: the raw image holds numbers that are not finite")
        return numbers
    if array.max() > np.iinfo(np.int32).max or array.min() < np.iinfo(np.int32).min:
        raise AugmentError(f"{where}: the raw image holds {array.max()}; at most 31 bits a value are read")
    return array.astype(np.int32)


def is_flat_image(count: int) -> bool:
    """Tell whether `count` numbers can be a square image."""
    return bool(_side(count) or _rgb_side(count))


def _side(size: float) -> int:
    """Return the side of a square of `size` numbers, 0 where there is none."""
    side = round(size**0.5)
    return side if side * side == size else 0


def _rgb_side(size: int) -> int:
    """Return the side of a square of `size / 3` pixels, 0 where there is none that an image could be."""
    side = _side(size / 3)
    return side if side >= MIN_RGB_SIDE else 0


def _roughness(images: npt.NDArray[np.float64]) -> float:
    """Return how much neighbouring pixels differ, (N, H, W, C)."""
    return float(np.abs(np.diff(images, axis=1)).mean() + np.abs(np.diff(images, axis=2)).mean())
