"""Cheap generators, which take seconds and no training worth the name: a GAN must beat them to be worth its time.

Each makes labelled images from labelled images, class by class, and sees nothing else. All have one signature, which is
that of a user's own generator too (`Make`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from data.base.randomness import child_seed, numpy_stream

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Make = Callable[[Pixels, Labels, int, int], tuple[Any, Any]]
"""`make(images, labels, num_images, seed)` -> (images, labels): `num_images` of each class, like (N, C, H, W) uint8 and
(N,) int64. What a user's own returns is checked before it is taken for that."""

EXPLAINED = 0.95  # share of the variance within a class that the components keep
MOST_COMPONENTS = 50
IMAGES_PER_GAUSSIAN = 4  # of each dimension: fewer than these are not shared out among several
MOST_GAUSSIANS = 16
REGULARISATION = 1e-6  # of a Gaussian's covariance, pixel values being in [0, 1]
NEIGHBOURS = 5  # of an image, as in Chawla et al. 2002


def pca_mixture(images: Pixels, labels: Labels, num_images: int, seed: int) -> tuple[Pixels, Labels]:
    """Draw from a mixture of Gaussians on the principal components of each class.

    The components are the fewest that keep 95% of a class's variance, at most 50. Their mixture has as many Gaussians
    as the Bayesian information criterion (Schwarz 1978) chooses of 1, 2, 4, 8 and 16; a class with fewer than four
    images for each dimension of two of them has one. A class of a single image repeats it.

    Args:
        images: (N, C, H, W) uint8, `labels` (N,) int64.
        num_images: of each class that has images.
    """
    return _by_class(images, labels, num_images, lambda flat, label: _pca_mixture(flat, num_images, seed, label))


def interpolation(images: Pixels, labels: Labels, num_images: int, seed: int) -> tuple[Pixels, Labels]:
    """Draw points on the lines between an image and one of its five nearest of the same class.

    That is SMOTE (Chawla et al. 2002, "SMOTE: Synthetic Minority Over-sampling Technique", section 4.2) for every class
    alike, or mixup (Zhang et al. 2018) inside a class. A class of a single image repeats it.

    Args:
        images: (N, C, H, W) uint8, `labels` (N,) int64.
        num_images: of each class that has images.
    """
    return _by_class(images, labels, num_images, lambda flat, label: _between(flat, num_images, seed, label))


BASELINES: Mapping[str, Make] = {"pca-mixture": pca_mixture, "interpolation": interpolation}
"""The generators that are built in beside the GAN, by name."""


def _by_class(
    images: Pixels, labels: Labels, num_images: int, draw: Callable[[npt.NDArray[np.float64], int], Any]
) -> tuple[Pixels, Labels]:
    """Join what `draw` makes of each class's flat images (n, C * H * W) in [0, 1]."""
    present = np.unique(labels)
    drawn = [
        draw(images[labels == label].reshape((labels == label).sum(), -1) / 255.0, int(label)) for label in present
    ]
    pixels = np.concatenate(drawn) if drawn else np.empty((0, *images.shape[1:]))
    made = np.clip(np.rint(255.0 * pixels), 0, 255).astype(np.uint8).reshape(-1, *images.shape[1:])
    return made, np.repeat(present, num_images).astype(np.int64)


def _pca_mixture(flat: npt.NDArray[np.float64], count: int, seed: int, label: int) -> npt.NDArray[np.float64]:
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    most = min(MOST_COMPONENTS, len(flat) - 1, flat.shape[1])
    if most < 1 or not flat.var(0).any():
        return np.repeat(flat[:1], count, axis=0)
    state = child_seed(seed, "pca-mixture", label) % 2**32
    pca = PCA(most, random_state=state).fit(flat)
    kept = 1 + int(np.searchsorted(np.cumsum(pca.explained_variance_ratio_), EXPLAINED))
    kept = min(kept, most)
    places = pca.transform(flat)[:, :kept]
    fitted = [
        GaussianMixture(number, reg_covar=REGULARISATION, random_state=state).fit(places)
        for number in _numbers_of_gaussians(len(flat), kept)
    ]
    best = min(fitted, key=lambda mixture: float(mixture.bic(places)))
    drawn: npt.NDArray[np.float64] = best.sample(count)[0] @ pca.components_[:kept] + pca.mean_
    return drawn


def _numbers_of_gaussians(num_images: int, dimensions: int) -> list[int]:
    """Return how many Gaussians are tried: as many as leave each of them enough images."""
    most = min(MOST_GAUSSIANS, num_images // (IMAGES_PER_GAUSSIAN * dimensions))
    return [1, *(2**power for power in range(1, 5) if 2**power <= most)]


def _between(flat: npt.NDArray[np.float64], count: int, seed: int, label: int) -> npt.NDArray[np.float64]:
    from sklearn.neighbors import NearestNeighbors

    neighbours = min(NEIGHBOURS, len(flat) - 1)
    if neighbours < 1:
        return np.repeat(flat, count, axis=0)
    rng = numpy_stream(seed, "interpolation", label)
    order = np.resize(rng.permutation(len(flat)), count)  # each image as often as any other
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(flat).kneighbors(return_distance=False)
    other = nearest[order, rng.integers(neighbours, size=count)]
    share = rng.random((count, 1))
    drawn: npt.NDArray[np.float64] = flat[order] + share * (flat[other] - flat[order])
    return drawn
