"""Which policies of classical augmentation images have to choose from, and which one they get without a choice."""

import numpy as np

from data.images import LabelledImages

GREY_CANDIDATES = ("none", "digits", "medical", "natural")
COLOUR_CANDIDATES = ("none", "natural", "digits", "trivial-augment")
EVEN_GROUND = 0.3  # share of an image's pixels that are black, or white, where an object stands on an even ground
BLACK = 8  # of 255, at most; white likewise


def policy_candidates(images: LabelledImages) -> tuple[str, ...]:
    """Return the policies to choose from for grey or for colour images, the simplest first."""
    return GREY_CANDIDATES if images.shape[0] == 1 else COLOUR_CANDIDATES


def usual_policy(images: LabelledImages) -> str:
    """Return the policy that images get where inner validation cannot tell.

    That is `digits` for grey images of objects on an even ground, such as glyphs, `natural` for colour images without
    such a ground, as photographs are, and `none`, the simplest, for others. Photographs gain by it from ten images per
    class on, long before inner validation on so few can tell (benchmarks/TRIALS.md).
    """
    if not len(images):
        return "none"
    colour = images.shape[0] > 1
    flat = images.images.reshape(len(images), -1)
    ground = max(float(np.median((flat <= BLACK).mean(1))), float(np.median((flat >= 255 - BLACK).mean(1))))
    if ground >= EVEN_GROUND:
        return "none" if colour else "digits"
    return "natural" if colour else "none"
