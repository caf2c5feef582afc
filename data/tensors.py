"""Between pixels and the tensors that networks take."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def to_unit_range(images: npt.NDArray[np.uint8]) -> Tensor:
    """Map (N, C, H, W) uint8 pixels to float32 in [-1, 1], the range of the generator's tanh."""
    return torch.from_numpy(np.ascontiguousarray(images)).float().div_(127.5).sub_(1.0)


def to_pixels(images: Tensor) -> npt.NDArray[np.uint8]:
    """Map (N, C, H, W) float images in [-1, 1] to uint8 pixels, rounding to nearest."""
    pixels = images.float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.cpu().contiguous().numpy()
