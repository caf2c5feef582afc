"""Which policies of classical augmentation images have to choose from, and which one they get without a choice."""

import numpy as np
import numpy.typing as npt

from data.images import LabelledImages

Pixels = npt.NDArray[np.uint8]

GREY_CANDIDATES = ("none", "digits", "medical", "natural")
COLOUR_CANDIDATES = ("none", "natural", "digits", "trivial-augment")
EVEN_GROUND = 0.3  # share of an image's pixels that are black, or white, where an object stands on an even ground
BLACK = 8  # of 255, at most; white likewise
COLOURED = 4.0  # of 255: how far an image's channels lie apart, on average; less is what JPEG leaves of grey


def policy_candidates(images: LabelledImages) -> tuple[str, ...]:
    """Return the policies to choose from for grey or for colour images, the simplest first."""
    if images.shape[0] == 1 or (len(images) and not _apart(*_extremes(images))):
        return GREY_CANDIDATES
    return COLOUR_CANDIDATES


def usual_policy(images: LabelledImages) -> str:
    """Return the policy that images get where inner validation cannot tell.

    That is `digits` for grey images of objects on an even ground, such as glyphs, `natural` for colour images without
    such a ground, as photographs are, and `none`, the simplest, for others. Photographs gain by it long before inner
    validation on few images can tell (benchmarks/TRIALS.md).
    """
    if not len(images):
        return "none"
    darkest, lightest = _extremes(images)
    colour = _apart(darkest, lightest)
    ground = max(_usual_share(lightest <= BLACK), _usual_share(darkest >= 255 - BLACK))
    if ground >= EVEN_GROUND:
        return "none" if colour else "digits"
    return "natural" if colour else "none"


def _extremes(images: LabelledImages) -> tuple[Pixels, Pixels]:
    """Return the smallest and the largest channel of each pixel, both (N, H, W); of grey images both are the images."""
    if images.shape[0] == 1:
        return images.images[:, 0], images.images[:, 0]
    return images.images.min(1), images.images.max(1)


def _apart(darkest: Pixels, lightest: Pixels) -> bool:
    """Tell whether most images have colour: a few that have some make RGB of all."""
    return float(np.median((lightest - darkest).mean((1, 2)))) > COLOURED


def _usual_share(pixels: npt.NDArray[np.bool_]) -> float:
    """Return the median over images of the share of chosen pixels (N, H, W)."""
    return float(np.median(pixels.mean((1, 2))))
