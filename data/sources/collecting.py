"""From decoded images of any size to one array that networks take: the rules of size and colour."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from data.base.errors import AugmentError
from data.base.limits import MAX_DECODED_BYTES, MAX_IMAGES, MAX_SIDE, MIN_SIDE, SIDE_STEP, check_limit

Pixels = npt.NDArray[np.uint8]


def network_size(height: int, width: int) -> tuple[int, int]:
    """Return the size that images of (height, width) are given: their own where networks take it, else a square.

    Networks take sides from 8 to 64 in steps of 4. Other images become squares of the next such size above their
    longer side, or of 64.
    """
    if all(MIN_SIDE <= side <= MAX_SIDE and side % SIDE_STEP == 0 for side in (height, width)):
        return height, width
    side = -(-max(height, width) // SIDE_STEP) * SIDE_STEP
    side = min(max(side, MIN_SIDE), MAX_SIDE)
    return side, side


def resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Resample (C, H, W) uint8 to (C, *size), antialiased (Lanczos); the aspect ratio follows `size`."""
    if image.shape[1:] == size:
        return image
    planes = [Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.LANCZOS) for plane in image]
    return np.stack([np.asarray(plane) for plane in planes])


class ImageCollector:
    """Takes images one by one, gives them one size, and decides at the end whether the data set has colour.

    Args:
        resize: side that all images get; None keeps their common size or follows `network_size`.
        name: the data set, for the messages.
    """

    def __init__(self, *, name: str, resize: int | None) -> None:
        self._name, self._resize = name, resize
        self._images: list[Pixels] = []
        self._bytes = 0
        self._has_colour = False
        self._native: tuple[int, int] | None = None
        self._mixed = False
        self._first_where = ""

    def __len__(self) -> int:
        return len(self._images)

    def add(self, image: Pixels, *, where: str) -> None:
        """Take one (C, H, W) uint8 image, C = 1 or 3.

        Raises:
            AugmentError: its size differs from the first one's and no `resize` is configured.
            LimitError: too many images or bytes.
        """
        height, width = image.shape[1:]
        if self._native is None:
            self._native, self._first_where = (height, width), where
        elif self._native != (height, width):
            if self._resize is None:
                first_height, first_width = self._native
                raise AugmentError(
                    f"{where}: the image is {height}x{width}, {self._first_where} is {first_height}x{first_width}; "
                    "give all images one size, or choose one with data.resize (such as 32)"
                )
            self._mixed = True
        image = resized(image, self._target((height, width)))
        if len(image) == 3 and not self._has_colour:
            if np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2]):
                image = image[:1].copy()
            else:
                self._has_colour = True
        self._images.append(image)
        self._bytes += image.nbytes
        check_limit(len(self._images), MAX_IMAGES, what=f"{self._name}: number of images")
        check_limit(self._bytes, MAX_DECODED_BYTES, what=f"{self._name}: bytes of all decoded images")

    def finish(self) -> Pixels:
        """Return (N, C, H, W) uint8, C = 3 where any image has colour, else 1.

        Raises:
            AugmentError: there are no images.
        """
        if not self._images:
            raise AugmentError(f"{self._name} holds no images")
        channels = 3 if self._has_colour else 1
        stack = np.empty((len(self._images), channels, *self._images[0].shape[1:]), np.uint8)
        for position, image in enumerate(self._images):
            stack[position] = image if len(image) == channels else image[:1]
        self._images.clear()
        return stack

    @property
    def resized_from(self) -> tuple[int, int] | None:
        """(height, width) of the first image as read, where images were resized; None where they were kept."""
        if self._native is None or (not self._mixed and self._target(self._native) == self._native):
            return None
        return self._native

    def facts(self) -> tuple[str, ...]:
        """Return what the reader of a report must know about sizes."""
        if self.resized_from is None or self._native is None:
            return ()
        height, width = self._target(self._native)
        sizes = "different sizes" if self._mixed else f"{self._native[0]}x{self._native[1]}"
        return (f"images were resized from {sizes} to {height}x{width} pixels",)

    def _target(self, size: tuple[int, int]) -> tuple[int, int]:
        return network_size(*size) if self._resize is None else (self._resize, self._resize)
