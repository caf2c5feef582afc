"""From decoded images of any size and depth to one array that networks take: rules of size, colour and scale."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from data.base.errors import AugmentError
from data.base.limits import MAX_DECODED_BYTES, MAX_IMAGES, MAX_SIDE, MIN_SIDE, SIDE_STEP, check_limit
from data.config import DataConfig
from data.decoding import Picture, Trait
from data.images import LUMINANCE
from data.sources.depth import Scale, ValuesSeen, scale_of

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


def resized(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Resample (C, H, W) to (C, *size), antialiased (Lanczos); the aspect ratio follows `size`.

    Images of uint8 stay so, others become float32.
    """
    if image.shape[1:] == size:
        return image
    if image.dtype != np.uint8:
        image = image.astype(np.float32)
    planes = [Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.LANCZOS) for plane in image]
    return np.stack([np.asarray(plane) for plane in planes])


class ImageCollector:
    """Takes images one by one, gives them one size, and decides at the end on colour and on the scale of values.

    Args:
        name: the data set, for the messages.
        config: how images are to be read.
    """

    def __init__(self, *, name: str, config: DataConfig) -> None:
        self._name, self._resize, self._colour = name, config.resize or None, config.colour
        self._bits = config.bits if isinstance(config.bits, int) else None
        self._ground = config.alpha_ground
        self._images: list[npt.NDArray[Any]] = []
        self._bytes = 0
        self._num_read, self._num_colour, self._first_colour = 0, 0, ""
        self._native: tuple[int, int] | None = None
        self._mixed = False
        self._first_where = ""
        self._traits: Counter[Trait] = Counter()
        self._whole, self._floats = ValuesSeen(), ValuesSeen()
        self._without_ground, self._laid = ValuesSeen(), ""  # of whole numbers, and the first image on a ground
        self._scales: list[Scale] = []

    def __len__(self) -> int:
        return len(self._images)

    def add(self, picture: Picture, *, where: str) -> None:
        """Take one image.

        Raises:
            AugmentError: its size differs from the first one's and no `data.resize` is configured.
            LimitError: too many images or bytes.
        """
        image = picture.pixels
        height, width = image.shape[1:]
        if self._native is None:
            self._native, self._first_where = (height, width), where
        elif self._native != (height, width):
            if self._resize is None:
                first_height, first_width = self._native
                raise AugmentError(
                    f"{where}: the image is {height}x{width}, {self._first_where} is {first_height}x{first_width}; "
                    "give all images one size, or choose one with --set data.resize=32"
                )
            self._mixed = True
        if picture.traits:
            self._traits.update(picture.traits)
        if image.dtype != np.uint8:
            (self._floats if image.dtype.kind == "f" else self._whole).add(image, where=where)
        elif self._bits is not None:
            self._whole.add(image, where=where)
        is_float = image.dtype.kind == "f"
        if image.dtype.kind == "i":
            self._without_ground.add(
                np.array([image.max() if picture.highest is None else picture.highest]), where=where
            )
            self._laid = self._laid or ("" if picture.highest is None else where)
        image = resized(image, self._target((height, width)))
        if not is_float and image.dtype.kind == "f":  # resampled: what it was decides on its scale
            image = np.rint(image).astype(np.int32)
        if len(image) == 3:
            image = self._with_fewer_channels(image, where)
        self._images.append(image)
        self._bytes += image.nbytes
        check_limit(len(self._images), MAX_IMAGES, what=f"{self._name}: number of images")
        check_limit(self._bytes, MAX_DECODED_BYTES, what=f"{self._name}: bytes of all decoded images")

    def _with_fewer_channels(self, image: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
        """Reduce an image of three equal channels to one; count the others, and turn them gray where configured."""
        if (image[0] == image[1]).all() and (image[0] == image[2]).all():
            return image[:1].copy()
        if not self._num_colour:
            self._first_colour = where
        self._num_colour += 1
        if self._colour != "gray":
            return image
        gray = np.tensordot(LUMINANCE, image, 1)[None]
        return gray.astype(image.dtype) if image.dtype.kind == "f" else np.rint(gray).astype(image.dtype)

    def finish(self) -> Pixels:
        """Return (N, C, H, W) uint8, C = 3 where any image has colour, else 1.

        Raises:
            AugmentError: there are no images, or values do not fit the configured bits, or a ground of 16 bits lies
                under images of fewer.
        """
        if not self._images:
            raise AugmentError(f"{self._name} holds no images")
        whole = scale_of(self._whole, is_float=False, bits=self._bits) if self._whole else None
        if whole is not None and self._laid and self._bits is None:
            self._check_ground(whole)
        floats = scale_of(self._floats, is_float=True, bits=self._bits) if self._floats else None
        self._scales = [scale for scale in (whole, floats) if scale is not None]
        channels = 3 if self._colour == "rgb" or (self._num_colour and self._colour == "auto") else 1
        stack = np.empty((len(self._images), channels, *self._images[0].shape[1:]), np.uint8)
        for position, image in enumerate(self._images):
            scale = floats if image.dtype.kind == "f" else whole
            if scale is not None and (image.dtype != np.uint8 or self._bits is not None):
                image = scale.to_bytes(image)
            stack[position] = image if len(image) == channels else image[:1]
        self._num_read = len(self._images)
        self._images.clear()
        return stack

    def _check_ground(self, scale: Scale) -> None:
        """Make sure that the ground which transparent images are laid on does not set the scale of all."""
        highest = self._without_ground.high
        if highest <= 0 or self._whole.low < 0:  # black ink: all that is seen is the ground
            return
        if scale_of(self._without_ground, is_float=False, bits=None).high < scale.high:
            raise AugmentError(
                f"{self._laid}: the image is transparent in part, and a ground of 16 bits ({self._ground}) would crush "
                f"values that go up to {highest:g}; lay the images on black with --set data.alpha_ground=black"
            )

    @property
    def resized_from(self) -> tuple[int, int] | None:
        """(height, width) of the first image as read, where images were resized; None where they were kept."""
        if self._native is None or (not self._mixed and self._target(self._native) == self._native):
            return None
        return self._native

    def facts(self) -> tuple[str, ...]:
        """Return what the reader of a report must know about how images were read; call it after `finish`."""
        return (*self._facts_of_sizes(), *self._facts_of_files(), *self._facts_of_colour(), *self._facts_of_values())

    def _facts_of_sizes(self) -> list[str]:
        if self.resized_from is None or self._native is None:
            return []
        height, width = self._target(self._native)
        sizes = "different sizes" if self._mixed else f"{self._native[0]}x{self._native[1]}"
        return [f"images were resized from {sizes} to {height}x{width} pixels"]

    def _facts_of_files(self) -> list[str]:
        ground = self._ground if isinstance(self._ground, str) else f"grey level {self._ground}"
        texts: dict[Trait, str] = {
            "transparent": f"are transparent in part: they were laid on {ground} (data.alpha_ground)",
            "turned": "were turned upright, as their EXIF orientation says",
            "frames": "come from files with several frames or pages, the first of which was taken",
        }
        return [f"{self._traits[trait]:,} images {text}" for trait, text in texts.items() if self._traits[trait]]

    def _facts_of_colour(self) -> list[str]:
        if self._colour == "gray":
            return [f"{self._num_colour:,} images of colour were turned gray"] if self._num_colour else []
        if not 0 < self._num_colour < self._num_read:
            return []
        return [
            f"{self._num_colour:,} of {self._num_read:,} images have colour (the first is {self._first_colour}), so "
            "all are RGB (data.colour=gray turns all gray)"
        ]

    def _facts_of_values(self) -> list[str]:
        return list(dict.fromkeys(scale.fact for scale in self._scales if scale.fact))

    def layout(self) -> tuple[str, ...]:
        """Return how flat rows of numbers were taken for images of colour."""
        orders: dict[Trait, str] = {
            "interleaved": "pixel by pixel (red, green and blue of each)",
            "planar": "plane by plane (all red, then green, then blue)",
        }
        return tuple(f"flat rows were read as RGB, {text}" for trait, text in orders.items() if self._traits[trait])

    def _target(self, size: tuple[int, int]) -> tuple[int, int]:
        return network_size(*size) if self._resize is None else (self._resize, self._resize)
