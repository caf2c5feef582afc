"""Changes of image batches, each image's its own, differentiable in the images: deformation, mirror images, tones.

They are what most policies of classical augmentation are made of (`data.policies`), and serve two purposes. The
classifiers' `classical` arms apply them to their training images
(elastic deformation: Simard et al. 2003, "Best practices for convolutional neural networks applied to visual
document analysis"), and the GAN applies them to what its discriminator sees, real and fake alike, in both
updates (DiffAugment: Zhao et al. 2020, arXiv 2006.10738, equations 2 and 3).
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from data.config import DeformationConfig, ToneConfig


def deform(images: Tensor, *, config: DeformationConfig, rng: torch.Generator) -> Tensor:
    """Deform each image by its own random affine map and smooth displacement field.

    Args:
        images: (B, C, H, W) float, background at the value of the border pixels.
        rng: a CPU generator; draws are made on the CPU, so the result does not depend on the device.

    Returns:
        (B, C, H, W), same dtype and device; gradients flow to `images`.
    """
    return deform_by(images, draw_deformations(len(images), config=config, rng=rng), config=config)


def draw_deformations(batch: int, *, config: DeformationConfig, rng: torch.Generator) -> Tensor:
    """Draw what `deform_by` deforms a batch by: its fields' coefficients, (B, 2, 3 + G) float32 on the CPU.

    The first three are an affine map's, the others the displacements of the elastic field's G control points.
    """
    uniform = torch.rand(batch, 6, generator=rng) * 2 - 1  # (B, 6) in [-1, 1)
    angle = uniform[:, 0] * math.radians(config.rotation_degrees)
    zoom_x, zoom_y = (uniform[:, 1:3] * config.scale).exp().unbind(1)
    shear = uniform[:, 3] * config.shear
    shift_x, shift_y = (uniform[:, 4:6] * 2 * config.translation).unbind(1)  # grid units: the side is 2 long
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [cos * zoom_x, (shear * cos - sin) * zoom_y, shift_x, sin * zoom_x, (shear * sin + cos) * zoom_y, shift_y],
        dim=1,
    ).view(batch, 2, 3)
    control = torch.zeros(batch, 2, 0)
    if config.elastic > 0:
        control = torch.randn(batch, 2, config.elastic_grid**2, generator=rng) * (2 * config.elastic)
    return torch.cat([theta, control], dim=2)


def num_coefficients(config: DeformationConfig) -> int:
    """Return 3 + G, how many coefficients `draw_deformations` draws for each direction of an image's field."""
    return 3 + (config.elastic_grid**2 if config.elastic > 0 else 0)


def mirror(coefficients: Tensor, mirrored: Tensor) -> Tensor:
    """Return coefficients (B, 2, 3 + G) under which the images where `mirrored` (B,) is true are mirror images too.

    Sampling points are mirrored before they are moved: x stands for -x in the affine map.
    """
    signs = torch.ones(len(coefficients), 1, coefficients.shape[2])
    signs[mirrored, :, 0] = -1
    return coefficients * signs


def round_to_pixels(coefficients: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Return coefficients (B, 2, 3 + G) with shifts of whole pixels of images of `size` (H, W)."""
    height, width = size
    half_sides = torch.tensor([width / 2, height / 2])  # pixels in a grid unit
    rounded = coefficients.clone()
    rounded[:, :, 2] = (coefficients[:, :, 2] * half_sides).round() / half_sides
    return rounded


def draw_tones(batch: int, *, config: ToneConfig, rng: torch.Generator) -> Tensor:
    """Draw what `change_tones` changes a batch by: factors (B, 3) float32 of brightness, contrast, saturation."""
    ranges = torch.tensor([config.brightness, config.contrast, config.saturation])
    return 1 + ranges * (torch.rand(batch, 3, generator=rng) * 2 - 1)


def change_tones(images: Tensor, factors: Tensor) -> Tensor:
    """Change brightness, contrast and saturation of images (B, C, H, W) in [-1, 1], in this order, by (B, 3) factors.

    Each is torchvision's `adjust_brightness`, `adjust_contrast` and `adjust_saturation`, with a factor for each image.
    """
    brightness, contrast, saturation = factors.to(images.device).view(-1, 3, 1, 1, 1).unbind(1)  # (B, 1, 1, 1)
    shares = (images.float() + 1) / 2  # of full brightness
    shares = (shares * brightness).clamp(0, 1)
    mean_grey = _grey(shares).mean((1, 2, 3), keepdim=True)
    shares = (mean_grey + contrast * (shares - mean_grey)).clamp(0, 1)
    if images.shape[1] > 1:
        grey = _grey(shares)
        shares = (grey + saturation * (shares - grey)).clamp(0, 1)
    return (shares * 2 - 1).to(images.dtype)


def _grey(images: Tensor) -> Tensor:
    """Return the luminance (B, 1, H, W) of images (B, C, H, W)."""
    if images.shape[1] == 1:
        return images
    return (images * _luminance(images.device)).sum(1, keepdim=True)


@cache
def _luminance(device: torch.device) -> Tensor:
    """Return the weights of red, green and blue, (3, 1, 1) float32; kept on its device, for steps that are recorded."""
    return torch.tensor([0.2989, 0.587, 0.114], device=device).view(3, 1, 1)


def deform_by(images: Tensor, coefficients: Tensor, *, config: DeformationConfig) -> Tensor:
    """Deform images (B, C, H, W) by `draw_deformations`'s coefficients (B, 2, 3 + G), on any device."""
    batch, _, height, width = images.shape
    basis = _displacement_basis(height, width, config.elastic_grid, images.device)[: coefficients.shape[2]]
    grid = (coefficients.to(images.device) @ basis).view(batch, 2, height, width).permute(0, 2, 3, 1)  # (B, H, W, 2)
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False).to(images.dtype)


@cache
def _displacement_basis(height: int, width: int, control_points: int, device: torch.device) -> Tensor:
    """Return the fields that sampling grids are sums of, (3 + control_points ** 2, H * W) float32.

    The first three are x, y and 1 of an affine map, in grid units at pixel centres; the others are the bicubic
    interpolations of a control grid with a single 1. One matrix product then makes the grids of a whole batch.
    """
    identity = torch.eye(2, 3)[None]
    x, y = F.affine_grid(identity, [1, 1, height, width], align_corners=False)[0].flatten(0, 1).unbind(1)  # (H * W,)
    single = torch.eye(control_points**2).view(-1, 1, control_points, control_points)
    bumps = F.interpolate(single, size=(height, width), mode="bicubic", align_corners=True).flatten(1)
    return torch.cat([torch.stack([x, y, torch.ones_like(x)]), bumps]).to(device)
