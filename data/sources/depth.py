"""From values of any depth to the 8 bits that networks are given: one scale for the whole data set."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from data.base.errors import AugmentError

_ROUNDING = 1e-4  # of floats that were computed
COMMON_BITS = (1, 8, 10, 12, 14, 16, 24, 32)


@dataclass
class ValuesSeen:
    """The smallest and largest value of the images that share a scale."""

    low: float = float("inf")
    high: float = float("-inf")
    where_high: str = field(default="", compare=False)

    def add(self, pixels: npt.NDArray[Any], *, where: str) -> None:
        """Take an image's values into account."""
        low, high = float(pixels.min()), float(pixels.max())
        self.low = min(self.low, low)
        if high > self.high:
            self.high, self.where_high = high, where

    def __bool__(self) -> bool:
        return self.high >= self.low


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What becomes 0 and what becomes 255, and what a reader must know about it."""

    low: float
    high: float
    fact: str = ""

    def to_bytes(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Map values to uint8, rounding to nearest."""
        if self.high <= self.low:
            return np.zeros(pixels.shape, np.uint8)
        scaled = (pixels.astype(np.float64) - self.low) * (255 / (self.high - self.low))
        return np.rint(scaled).clip(0, 255).astype(np.uint8)


def scale_of(seen: ValuesSeen, *, is_float: bool, bits: int | None) -> Scale:
    """Choose the scale of a data set's images.

    Whole numbers: the fewest `COMMON_BITS` that hold the largest. Floats: 0 to 1 where all lie there, else as whole
    numbers. Where any is negative: from the smallest to the largest.

    Args:
        bits: as configured, or None.

    Raises:
        AugmentError: a value does not fit the configured bits.
    """
    if is_float and seen.low >= 0 and seen.high <= 1 + _ROUNDING and bits is None:
        return Scale(low=0, high=1, fact="values from 0 to 1 were scaled to 0 to 255")
    if seen.low < 0:
        if bits is not None:
            raise AugmentError(f"values go down to {seen.low:g}, which {bits} bits do not hold; leave data.bits out")
        fact = f"values from {seen.low:g} to {seen.high:g} were scaled to 0 to 255, the same for all images"
        return Scale(low=seen.low, high=seen.high, fact=fact)
    if bits is None:
        fitting = [common for common in COMMON_BITS if seen.high < 2**common]
        if not fitting:
            raise AugmentError(f"{seen.where_high}: a value is {seen.high:g}; at most 32 bits a value are read")
        bits = fitting[0]
    elif seen.high >= 2**bits:
        raise AugmentError(
            f"{seen.where_high}: a value is {seen.high:g}, which {bits} bits do not hold; give more with "
            "--set data.bits"
        )
    if bits == 8:
        return Scale(low=0, high=255)
    fact = f"values go up to {seen.high:g}: read as {bits} bits, all images alike (data.bits sets another number)"
    return Scale(low=0, high=2**bits - 1, fact=fact)
