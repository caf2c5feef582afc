"""Fidelity: how near the synthetic images' distribution is to the real one, overall and per class, beside its floor.

All figures are taken on features of `evaluation.features` and are comparable only with figures of the same features
and the same number of images. So each one stands beside its floor: the same figure for as many real train images in
the synthetic ones' place, both against the real test images. A figure that cannot be computed is None with its reason.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel
from torch import Tensor

from evaluation.config import SamplesConfig

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
ROUNDING = 1e-12  # of squared distances, over the squared lengths: what is nearer is equal
AT_ONCE = 128  # rows of a matrix of distances, as fit into a processor's cache
KID_GROUPS = 20
FEWEST_GROUPS = 5  # without which there is no error to tell
MANIFOLD_FIGURES = ("precision", "recall", "density", "coverage")


class Measurement(BaseModel, frozen=True, extra="forbid"):
    """A measured value with its standard error where it has one, or None with the reason."""

    value: float | None
    spread: float | None = None
    unavailable: str = ""


class FidelityFigures(BaseModel, frozen=True, extra="forbid"):
    """The figures of one set of images against real ones.

    FID and KID: 0 is best. Precision, recall, coverage: 1 is best. Density and diversity: near 1, may exceed it.
    """

    num_images: int
    num_reference: int
    fid: Measurement
    kid: Measurement
    precision: Measurement
    recall: Measurement
    density: Measurement
    coverage: Measurement
    diversity: Measurement


class FidelityPair(BaseModel, frozen=True, extra="forbid"):
    """Synthetic images against real test images, and the floor: real train images in their place."""

    name: str
    synthetic: FidelityFigures
    floor: FidelityFigures


class Fidelity(BaseModel, frozen=True, extra="forbid"):
    """Fidelity overall and of each class, with the digest of the features it was measured in."""

    features: str
    overall: FidelityPair
    classes: tuple[FidelityPair, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledFeatures:
    """Features (N, F) float32 with labels (N,) int64."""

    features: Features
    labels: Labels

    def of_class(self, label: int) -> Features:
        """Return the features of one class."""
        selected: Features = self.features[self.labels == label]
        return selected


def measure_fidelity(
    synthetic: LabelledFeatures,
    *,
    train: LabelledFeatures,
    test: LabelledFeatures,
    class_names: tuple[str, ...],
    config: SamplesConfig,
    rng: np.random.Generator,
) -> list[FidelityPair]:
    """Compare synthetic with test features, and train with test features as the floor: overall first, then by class.

    Both are of equal size, since the figures depend on it: where there are fewer train images, as many of the synthetic
    ones are taken.
    """

    def pair(name: str, fake: Features, real_train: Features, real_test: Features) -> FidelityPair:
        size = min(len(real_train), len(fake))
        some = fake if size == len(fake) else fake[rng.permutation(len(fake))[:size]]
        return FidelityPair(
            name=name,
            synthetic=fidelity_figures(real_test, some, config=config, rng=rng),
            floor=fidelity_figures(real_test, real_train[:size], config=config, rng=rng),
        )

    shuffled = train.features[rng.permutation(len(train.features))]
    pairs = [pair("overall", synthetic.features, shuffled, test.features)]
    for label, name in enumerate(class_names):
        pairs.append(pair(name, synthetic.of_class(label), train.of_class(label), test.of_class(label)))
    return pairs


def fidelity_figures(
    real: Features, fake: Features, *, config: SamplesConfig, rng: np.random.Generator
) -> FidelityFigures:
    """Compute all figures of `fake` (M, F) against `real` (N, F)."""
    smaller, num_features, neighbours = min(len(real), len(fake)), real.shape[1], config.neighbours
    finite = bool(np.isfinite(real).all() and np.isfinite(fake).all())

    def missing(needed: int) -> Measurement | None:
        if not finite:
            return Measurement(value=None, unavailable="the features are not all finite")
        if smaller < needed:
            return Measurement(value=None, unavailable=f"only {smaller} images, {needed} are needed")
        return None

    no_manifold = missing(neighbours + 1)
    manifold = (
        dict.fromkeys(MANIFOLD_FIGURES, no_manifold)
        if no_manifold
        else {
            name: Measurement(value=value)
            for name, value in manifold_figures(real, fake, neighbours=neighbours).items()
        }
    )
    return FidelityFigures(
        num_images=len(fake),
        num_reference=len(real),
        fid=missing(num_features + 1) or Measurement(value=frechet_distance(real, fake)),
        kid=missing(2) or kernel_inception_distance(real, fake, rng=rng),
        diversity=missing(2) or diversity(real, fake),
        **manifold,
    )


def frechet_distance(real: Features, fake: Features) -> float:
    """Return the Fréchet distance of Gaussians fitted to both (Heusel et al. 2017, arXiv 1706.08500, equation 6)."""
    (real_mean, real_covariance), (fake_mean, fake_covariance) = _moments(real), _moments(fake)
    variances, axes = np.linalg.eigh(real_covariance)
    root = axes * np.sqrt(np.maximum(variances, 0)) @ axes.T
    common = np.linalg.eigvalsh(root @ fake_covariance @ root)  # of the covariances' product, which is not symmetric
    distance = np.square(real_mean - fake_mean).sum() + np.trace(real_covariance) + np.trace(fake_covariance)
    return max(0.0, float(distance - 2 * np.sqrt(np.maximum(common, 0)).sum()))


def _moments(features: Features) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean (F,) and the covariance (F, F)."""
    exact = features.astype(np.float64)
    return exact.mean(0), np.atleast_2d(np.cov(exact, rowvar=False))


def kernel_inception_distance(real: Features, fake: Features, *, rng: np.random.Generator) -> Measurement:
    """Return the unbiased cubic-kernel MMD (KID) of both sets with its standard error as the spread.

    Binkowski et al. 2018, arXiv 1801.01401, equation 4, on all images at once; it may fall below 0 where both sets are
    alike. The error is the jackknife's that leaves out a random `KID_GROUPS`th of each set at a time (Efron &
    Tibshirani 1993, "An Introduction to the Bootstrap", section 11.5).
    """
    groups = min(KID_GROUPS, len(real), len(fake))
    x, y = torch.from_numpy(real).double(), torch.from_numpy(fake).double()
    in_x, in_y = (_groups(len(part), groups, rng) for part in (x, y))  # (N, G), (M, G), one 1 in each row
    same_x, same_y = in_x.T @ _cubic(x, x, diagonal=False) @ in_x, in_y.T @ _cubic(y, y, diagonal=False) @ in_y
    between = in_x.T @ _cubic(x, y) @ in_y  # (G, G): sums over the pairs of two groups

    def without(group: int | None) -> float:
        kept = torch.tensor([index != group for index in range(groups)]).double()
        n, m = float(in_x.sum(0) @ kept), float(in_y.sum(0) @ kept)
        return float(
            kept @ same_x @ kept / (n * (n - 1))
            + kept @ same_y @ kept / (m * (m - 1))
            - 2 * (kept @ between @ kept) / (n * m)
        )

    value = without(None)
    if groups < FEWEST_GROUPS:
        return Measurement(value=value)
    left_out = np.array([without(group) for group in range(groups)])
    error = float(np.sqrt((groups - 1) / groups * np.square(left_out - left_out.mean()).sum()))
    return Measurement(value=value, spread=error)


def _groups(count: int, groups: int, rng: np.random.Generator) -> Tensor:
    return torch.eye(groups, dtype=torch.float64)[torch.from_numpy(rng.permutation(count) % groups)]


def _cubic(first: Tensor, second: Tensor, *, diagonal: bool = True) -> Tensor:
    kernel = torch.addmm(torch.ones(1, dtype=first.dtype), first, second.T, alpha=1 / first.shape[1])
    kernel *= kernel.square()  # a power of float64 takes far longer
    return kernel if diagonal else kernel.fill_diagonal_(0)


def diversity(real: Features, fake: Features) -> Measurement:
    """Return the ratio of total standard deviations of features (N, F) and (M, F): root of trace(cov fake) / trace(cov
    real)."""
    real_variance = float(real.var(0, ddof=1, dtype=np.float64).sum())
    fake_variance = float(fake.var(0, ddof=1, dtype=np.float64).sum())
    if real_variance == 0:
        return Measurement(value=None, unavailable="the real images are all alike")
    return Measurement(value=float(np.sqrt(fake_variance / real_variance)))


def manifold_figures(real: Features, fake: Features, *, neighbours: int) -> dict[str, float]:
    """Return precision, recall (Kynkäänniemi et al. 2019, arXiv 1904.06991), density, coverage.

    The latter two are equations 4 and 5 of Naeem et al. 2020, arXiv 2002.09797. Same values as the package `prdc`,
    which prints while it works and spreads over eight threads.
    """
    x, y = torch.from_numpy(real), torch.from_numpy(fake)
    real_radii, fake_radii = _radii(x, neighbours), _radii(y, neighbours)  # (N,), (M,)
    distances = squared_distances(x, y)  # (N, M)
    in_real = distances < real_radii[:, None]
    return {
        "precision": float(in_real.any(0).float().mean()),
        "recall": float((distances < fake_radii[None]).any(1).float().mean()),
        "density": float(in_real.sum(0).float().mean()) / neighbours,
        "coverage": float((distances.amin(1) < real_radii).float().mean()),
    }


def _radii(features: Tensor, neighbours: int) -> Tensor:
    """Return each row's squared distance to its k-th nearest other row, (N,)."""
    return squared_distances(features, features).topk(neighbours + 1, largest=False).values[:, -1]


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared distances of rows (N, F) and (M, F) as (N, M) float64; of equal rows it is 0."""
    first, second = first.double(), second.double()
    lengths, others = first.square().sum(1)[:, None], second.square().sum(1)
    distances = torch.empty(len(first), len(second), dtype=torch.float64)
    for start in range(0, len(first), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        torch.addmm(others, first[part], second.T, alpha=-2, out=distances[part]).add_(lengths[part])
        distances[part].masked_fill_(distances[part] <= ROUNDING * (lengths[part] + others), 0)
    return distances
