"""An image's numbers where a table holds them as a text or in lists, as columns of CSV and JSON Lines do."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from data.base.errors import CorruptFileError

FEWEST_NUMBERS = 4  # of an image in a list
_BETWEEN = re.compile(r"[\s,;]+")
_BRACKETED = re.compile(r"\s*[\[(][\s\d.,;eE+\-\[\]()]+[\])]\s*")
_ROW = re.compile(r"\[([^\[\]]*)\]")
_OPENING = re.compile(r"[\[\s]*")
_PLANE = re.compile(r"\]\s*\]")
_MOST_DIMENSIONS = 3


def looks_like_a_list(text: str) -> bool:
    """Tell whether a text is a list of several numbers in brackets, which no file is called."""
    return bool(_BRACKETED.fullmatch(text)) and len(_BETWEEN.split(text.strip(" [()]"))) >= FEWEST_NUMBERS


def numbers_in(text: str, *, where: str) -> npt.NDArray[np.float32]:
    """Return the numbers of a text: with spaces, commas or semicolons between them, alone or in nested brackets.

    Raises:
        CorruptFileError: it holds something else, or rows that differ in length.
    """
    plain = text.replace("(", "[").replace(")", "]").strip()
    try:
        return _nested(plain) if plain.startswith("[") else _row(plain)
    except ValueError as error:
        raise CorruptFileError(f"{where}: {text[:30]!r} is no list of an image's numbers; repair the row") from error


def numbers_of(value: Any, *, where: str) -> npt.NDArray[Any]:
    """Return nested lists of numbers as an array.

    Raises:
        CorruptFileError: they hold something else, or rows that differ in length.
    """
    try:
        numbers = np.asarray(value)
        is_image = numbers.dtype.kind in "biuf" and 1 <= numbers.ndim <= _MOST_DIMENSIONS
    except (ValueError, OverflowError, RecursionError):
        is_image = False
    if not is_image:
        raise CorruptFileError(f"{where}: {str(value)[:30]!r} is no list of an image's numbers; repair the row")
    return numbers


def _row(text: str) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # whoever makes a picture of it refuses what is not finite
        return np.array([number for number in _BETWEEN.split(text) if number], np.float32)


def _nested(text: str) -> npt.NDArray[np.float32]:
    """Return (N,), (H, W) or (H, W, C) numbers of a text in brackets."""
    depth = _OPENING.match(text)[0].count("[")  # type: ignore[index]  # it matches nothing too
    if (
        not 1 <= depth <= _MOST_DIMENSIONS
        or text.count("[") != text.count("]")
        or _ROW.sub("", text).strip(" ,;[]\r\n\t")
    ):
        raise ValueError("something else than an image's numbers")
    planes = [
        np.stack([_row(row) for row in _ROW.findall(plane + "]")]) for plane in _PLANE.split(text) if "[" in plane
    ]
    numbers = np.stack(planes)  # either raises a ValueError where lists differ in length
    return numbers if depth == _MOST_DIMENSIONS else numbers[0] if depth > 1 else numbers.reshape(-1)
