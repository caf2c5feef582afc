"""Policies of classical augmentation, by name: what a training image may look like instead, with the same label.

A policy draws on the CPU what is random in a batch (`draw`), and applies it wherever the batch is (`apply`), so that
the result depends on no device and that a GPU can record the step. `digits`, `natural` and `medical` are affine maps,
elastic fields and changes of tone of a whole batch at once, each image with its own. torchvision's transforms draw once
per call, for all images of a batch alike, and so must be called image by image: `trivial-augment` and transforms of the
user's own are (benchmarks/TRIALS.md has what that costs).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from data.augmentation import (
    change_tones,
    deform_by,
    draw_deformations,
    draw_tones,
    mirror,
    num_coefficients,
    round_to_pixels,
)
from data.base.errors import UsageError, first_line
from data.base.plugins import is_reference, load_named
from data.base.randomness import GlobalRandomness
from data.config import DeformationConfig, ToneConfig
from data.tensors import to_pixels, to_unit_range

OwnFunction = Callable[[Tensor, torch.Generator], Tensor]
AT_ONCE = 500  # images


class Policy(Protocol):
    """What is done to the images of a batch, each by itself."""

    def draw(self, pixels: npt.NDArray[np.uint8], rng: torch.Generator) -> Tensor:
        """Draw all that is random in a batch of images (B, C, H, W): a tensor on the CPU, B long."""

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Return a batch of images (B, C, H, W) float32 in [-1, 1] as `drawn` has it, on any device."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """A policy for whole batches: mirror images, affine maps and elastic fields, changes of tone; differentiable.

    Attributes:
        flip: how often an image is mirrored, left and right.
        whole_pixels: whether shifts are of whole pixels, so that nothing is blurred: a crop after padding by the edge.
    """

    deformation: DeformationConfig
    tones: ToneConfig | None = None
    flip: float = 0.0
    whole_pixels: bool = False

    def draw(self, pixels: npt.NDArray[np.uint8], rng: torch.Generator) -> Tensor:
        """Draw the coefficients of a batch's fields (B, 2, 3 + G), flattened and followed by its tones, if any."""
        return self.draw_for(len(pixels), size=(pixels.shape[2], pixels.shape[3]), rng=rng)

    def draw_for(self, batch: int, *, size: tuple[int, int], rng: torch.Generator) -> Tensor:
        """Draw for a batch of images of `size` (H, W): (B, K) float32 on the CPU."""
        fields = draw_deformations(batch, config=self.deformation, rng=rng)
        if self.whole_pixels:
            fields = round_to_pixels(fields, size=size)
        if self.flip > 0:
            fields = mirror(fields, torch.rand(batch, generator=rng) < self.flip)
        if self.tones is None:
            return fields.flatten(1)
        return torch.cat([fields.flatten(1), draw_tones(batch, config=self.tones, rng=rng)], dim=1)

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Apply the coefficients (B, K); gradients flow to `images`."""
        num_fields = num_coefficients(self.deformation)
        fields, tones = drawn[:, : 2 * num_fields], drawn[:, 2 * num_fields :]
        images = deform_by(images, fields.view(-1, 2, num_fields), config=self.deformation)
        return images if self.tones is None else change_tones(images, tones)


@dataclass(frozen=True, kw_only=True)
class OnPixels:
    """A policy that changes pixels on the CPU, such as a torchvision transform or a function of the user's own.

    Attributes:
        change: (B, C, H, W) uint8 and a generator to as many images of the same shape.
    """

    change: OwnFunction

    def draw(self, pixels: npt.NDArray[np.uint8], rng: torch.Generator) -> Tensor:
        """Return the batch, changed, (B, C, H, W) uint8."""
        seed = int(torch.randint(2**32, (1,), generator=rng, dtype=torch.int64))
        with GlobalRandomness(seed, device="cpu").lent():  # torchvision's transforms draw from torch's generator
            return self.change(torch.from_numpy(np.array(pixels)), rng)

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Return the changed batch on the device of `images`."""
        return drawn.to(images.device).float().div(127.5).sub(1.0)


NATURAL = Views(
    deformation=DeformationConfig(rotation_degrees=0, translation=0.125, scale=0, shear=0, elastic=0),
    tones=ToneConfig(brightness=0.2, contrast=0.2, saturation=0.2),
    flip=0.5,
    whole_pixels=True,
)
MEDICAL = Views(
    deformation=DeformationConfig(rotation_degrees=7, translation=0.05, scale=0.08, shear=0, elastic=0),
    tones=ToneConfig(brightness=0.15, contrast=0.15, saturation=0),
)
SHIFTED_AND_TONED = Views(  # DiffAugment's "translation" and "color"
    deformation=NATURAL.deformation, tones=ToneConfig(brightness=0.5, contrast=0.5, saturation=1.0), whole_pixels=True
)


def policy_of(name: str, *, digits: DeformationConfig) -> Policy | None:
    """Return the policy `name`; None for `none`.

    Args:
        name: of `data.config.POLICIES`, or a reference to code of the user's own.
        digits: ranges of the policy `digits`.

    Raises:
        UsageError: the user's own code is not allowed here, is missing, or is neither a function nor a transform.
        ValueError: there is no such policy, as where it is still "auto".
    """
    if name == "trivial-augment":
        from torchvision.transforms import v2  # most studies need none of it

        return OnPixels(change=_one_by_one(v2.TrivialAugmentWide()))
    if is_reference(name):
        return OnPixels(change=_own(name))
    return differentiable_policy_of(name, digits=digits)


def differentiable_policy_of(name: str, *, digits: DeformationConfig) -> Views | None:
    """Return what a GAN's discriminator sees its images through where classifiers use the policy `name`.

    That is the same policy where gradients pass it. Those of the pixels (`trivial-augment`, the user's own code) are
    stood in for by shifts and changes of tone: DiffAugment as published (Zhao et al. 2020, arXiv 2006.10738).

    Raises:
        ValueError: there is no such policy, as where it is still "auto".
    """
    if name == "trivial-augment" or is_reference(name):
        return SHIFTED_AND_TONED
    match name:
        case "none":
            return None
        case "digits":
            return Views(deformation=digits)
        case "natural":
            return NATURAL
        case "medical":
            return MEDICAL
    raise ValueError(f"there is no augmentation policy {name!r}")


def augmented(images: npt.NDArray[np.uint8], *, policy: Policy, rng: torch.Generator) -> npt.NDArray[np.uint8]:
    """Return images (N, C, H, W) uint8, each changed once by the policy."""
    parts = np.array_split(images, max(1, -(-len(images) // AT_ONCE)))
    return np.concatenate([to_pixels(policy.apply(to_unit_range(part), policy.draw(part, rng))) for part in parts])


def _one_by_one(transform: Callable[[Tensor], Tensor]) -> OwnFunction:
    return lambda images, _: torch.stack([transform(image) for image in images])


def _own(reference: str) -> OwnFunction:
    """Return the user's own function or transform, held to what it promises whenever it is called."""
    what = "augmentation policy"
    found = load_named(reference, what=what)
    if not callable(found) or isinstance(found, type):
        kind = "a class" if isinstance(found, type) else f"a {type(found).__name__}"
        raise UsageError(
            f"the {what} {reference} is {kind}; write a function of (images, rng), or an instance of a transform"
        )
    function: OwnFunction = _one_by_one(found) if isinstance(found, nn.Module) else found

    def checked(images: Tensor, rng: torch.Generator) -> Tensor:
        try:
            changed = function(images, rng)
        except Exception as error:
            raise UsageError(
                f"the {what} {reference} fails on a batch of {_form(images)}: {type(error).__name__}: "
                f"{first_line(error)}"
            ) from error
        if not isinstance(changed, Tensor) or changed.shape != images.shape or changed.dtype != torch.uint8:
            raise UsageError(
                f"the {what} {reference} makes {_form(changed)} of {_form(images)}; it must return images of the same "
                "shape, uint8"
            )
        return changed.detach().cpu()

    return checked


def _form(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return f"a {type(value).__name__}"
