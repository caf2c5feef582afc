"""Memorisation: does the generator keep near to the images it was trained on, or repeat itself?

Every distance is judged against real images that the generator cannot have seen. Distances are Euclidean, between
pixels in [0, 1] or between features.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel
from scipy import stats

from data.images import LabelledImages
from evaluation.fidelity import Measurement

CHUNK_ELEMENTS = 4_000_000  # of one block of the distance matrix: 16 MB

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float64]


class CopyingTest(BaseModel, frozen=True, extra="forbid"):
    """Data-copying test: are samples nearer to the training images than unseen real images are?

    Attributes:
        z: stratified Mann-Whitney U, standard normal where both are equally near; far below 0 means copying.
        p_value: one-sided, of a z at least as low. It takes samples as independent draws.
        nearer_probability: how often a sample is nearer than an unseen real image of its class; 1/2 is ideal.
        sample_distance, unseen_distance: medians of the distances to the nearest training image.
        unavailable: why there is no test, or "".
    """

    z: float | None
    p_value: float | None
    nearer_probability: float | None
    sample_distance: float | None
    unseen_distance: float | None
    unavailable: str = ""


class SuspiciousPair(BaseModel, frozen=True, extra="forbid"):
    """A sample and the training image it is nearest to.

    Attributes:
        sample: index in the synthetic set.
        subset_index: index in the subset; `row` is its row number in the train split.
        ratio: pixel distance over the usual distance of unseen real images of that class; 0 is an exact copy.
    """

    sample: int
    subset_index: int
    row: int
    pixel_distance: float
    ratio: float


class Memorisation(BaseModel, frozen=True, extra="forbid"):
    """What was found.

    Attributes:
        duplicated: share of samples nearer to another sample than `copy_ratio` times the usual distance between real
            images of the class; `duplicated_real` among as many real images.
    """

    num_images: int
    num_training: int
    num_unseen: int
    unseen_from: str
    pixels: CopyingTest
    features: CopyingTest
    duplicated: Measurement
    duplicated_real: Measurement
    pairs: tuple[SuspiciousPair, ...]


def pixel_vectors(images: npt.NDArray[np.uint8]) -> Vectors:
    """Flatten (N, C, H, W) uint8 images to (N, C * H * W) float32 in [0, 1]."""
    return images.reshape(len(images), math.prod(images.shape[1:])).astype(np.float32) / np.float32(255)


def nearest(queries: Vectors, base: Vectors, *, excluding_self: bool = False) -> tuple[Labels, Distances]:
    """Find each query's nearest row of `base`: its index (N,) int64 and its distance (N,) float64.

    Args:
        queries: (N, D).
        base: (M, D), not empty.
        excluding_self: `queries` is `base`, and a row does not count as its own neighbour.
    """
    transposed = torch.from_numpy(base).T
    norms = torch.from_numpy(base).square().sum(1)  # (M,)
    chunk = max(1, CHUNK_ELEMENTS // len(base))
    indices = []
    for start in range(0, len(queries), chunk):
        block = torch.from_numpy(queries[start : start + chunk])
        scores = torch.addmm(norms, block, transposed, alpha=-2)  # squared distance less the query's own norm
        if excluding_self:
            own = torch.arange(len(block))
            scores[own, own + start] = math.inf
        indices.append(scores.numpy().argmin(1))  # PyTorch's takes four times as long
    found = np.concatenate(indices) if indices else np.zeros(0, np.int64)
    # The matrix product rounds: the distance to the winner is computed again, so that an exact copy is at 0.
    parts = [
        np.linalg.norm(queries[start : start + chunk].astype(np.float64) - base[found[start : start + chunk]], axis=1)
        for start in range(0, len(queries), chunk)
    ]
    return found, np.concatenate([np.zeros(0), *parts])


def copying_test(
    sample_distances: Distances, sample_labels: Labels, unseen_distances: Distances, unseen_labels: Labels
) -> CopyingTest:
    """Compare distances to the nearest training image, samples against unseen real images.

    The Mann-Whitney z-score of Meehan et al. 2020 (arXiv 2004.05675, section 3.1). Their cells are the classes here;
    the cells' statistics are summed before they are standardised, so that z is standard normal under "no copying".
    """
    surplus = variance = pairs = nearer = 0.0
    for label in np.unique(np.concatenate([sample_labels, unseen_labels])):
        mine, theirs = sample_distances[sample_labels == label], unseen_distances[unseen_labels == label]
        m, n = len(mine), len(theirs)
        if m == 0 or n == 0:
            continue
        u = float(stats.mannwhitneyu(mine, theirs).statistic)  # pairs in which the sample is farther; ties count half
        surplus += u - m * n / 2
        variance += m * n * (m + n + 1) / 12
        pairs += m * n
        nearer += m * n - u
    if variance == 0:
        return CopyingTest(
            z=None,
            p_value=None,
            nearer_probability=None,
            sample_distance=None,
            unseen_distance=None,
            unavailable="no class has both samples and unseen real images",
        )
    z = surplus / math.sqrt(variance)
    return CopyingTest(
        z=z,
        p_value=float(stats.norm.cdf(z)),
        nearer_probability=nearer / pairs,
        sample_distance=float(np.median(sample_distances)),
        unseen_distance=float(np.median(unseen_distances)),
    )


def usual_distances(distances: Distances, labels: Labels, *, num_classes: int) -> Distances:
    """Return each class's median distance, (num_classes,); a class without images takes the median of all."""
    overall = float(np.median(distances)) if len(distances) else math.nan
    return np.array(
        [np.median(distances[labels == label]) if (labels == label).any() else overall for label in range(num_classes)],
        np.float64,
    )


def near_share(distances: Distances, labels: Labels, *, usual: Distances, ratio: float) -> Measurement:
    """Return the share of images nearer than `ratio` times their class's usual distance, or exactly at 0.

    Args:
        distances, labels: (N,), of the images.
        usual: (num_classes,), NaN where it is not known.
    """
    if len(distances) == 0 or np.isnan(usual).any():
        return Measurement(value=None, unavailable="no images to compare with")
    return Measurement(value=float(((distances < ratio * usual[labels]) | (distances == 0)).mean()))


def duplicate_shares(
    samples: LabelledImages, real: LabelledImages, *, ratio: float, rng: np.random.Generator
) -> tuple[Measurement, Measurement]:
    """Return the shares of near-duplicates among the samples and among as many real images.

    An image is a duplicate where another one of its set lies nearer than `ratio` times the usual distance between
    neighbours among the real images of its class.
    """
    count = min(len(samples), len(real))
    if count < 2:
        reason = f"only {count} images, 2 are needed"
        return Measurement(value=None, unavailable=reason), Measurement(value=None, unavailable=reason)
    some, others = (part.take(np.sort(rng.permutation(len(part))[:count])) for part in (samples, real))
    _, between_samples = _nearest_other(some)
    _, between_real = _nearest_other(others)
    usual = usual_distances(between_real, others.labels, num_classes=real.num_classes)
    return (
        near_share(between_samples, some.labels, usual=usual, ratio=ratio),
        near_share(between_real, others.labels, usual=usual, ratio=ratio),
    )


def _nearest_other(images: LabelledImages) -> tuple[Labels, Distances]:
    vectors = pixel_vectors(images.images)
    return nearest(vectors, vectors, excluding_self=True)


def matched(images: LabelledImages, counts: Labels, rng: np.random.Generator) -> LabelledImages:
    """Draw `counts[label]` images of each class."""
    drawn = [rng.permutation(np.flatnonzero(images.labels == label))[:count] for label, count in enumerate(counts)]
    return images.take(np.concatenate(drawn).astype(np.int64))


def suspicious_pairs(
    distances: Distances,
    neighbours: Labels,
    samples: LabelledImages,
    *,
    subset: LabelledImages,
    usual: Distances,
    count: int,
) -> tuple[SuspiciousPair, ...]:
    """Return the `count` samples nearest to a training image, relative to what is usual in their class.

    Args:
        distances, neighbours: of each sample to its nearest image of `subset`.
        samples: their `rows` are indices in the synthetic set.
    """
    scale = np.where(usual > 0, usual, 1.0)[samples.labels]
    ratios = distances / scale
    return tuple(
        SuspiciousPair(
            sample=int(samples.rows[index]),
            subset_index=int(neighbours[index]),
            row=int(subset.rows[neighbours[index]]),
            pixel_distance=float(distances[index]),
            ratio=float(ratios[index]),
        )
        for index in np.argsort(ratios, kind="stable")[:count]
    )
