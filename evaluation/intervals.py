"""How sure a gain is: every error of a paired difference, from the predictions of all replicates on all test images.

The difference d[r, s, i] between two arms on test image i, in replicate r with classifier seed s, is 1, 0 or -1. Its
mean is off the true gain for several reasons that do not shrink together: which images were drawn for the subset (and
the GAN that they made), the seeds of the classifiers, which images happen to be in the test set, and that the subsets
share images. Replicates and test images are crossed, as readers and cases are in studies of diagnosis (Obuchowski &
Rockette 1995; Hillis 2007), and each part is estimated by its mean squares.

**The interval.** A sum of estimated variances has no t distribution. Satterthwaite's approximation takes one, and is
too narrow where the part with few degrees of freedom happens to come out small: with 3 replicates and a known
variance a tenth as large beside theirs, it misses in 7.9 % of studies where 5 % are promised, and in 1.9 % where 0.2 %
are (simulated). So each part gets the quantile of its own degrees of freedom (Banerjee 1960, Sankhya 22, 357-358):

    half width^2 = sum over sources of t(degrees)^2 * variance

This holds its coverage however large each part truly is. Given the estimated variances v_k u_k (u_k a chi-square over
its degrees), the normal mean is covered with probability F(sum w_k t_k^2 u_k), where F is the distribution function of
a chi-square with one degree and w_k the true shares. F is concave, so that this is at least sum w_k F(t_k^2 u_k), whose
expectation is the promised level in each term. It needs no independence between the u_k and holds at every level,
and so under Bonferroni's correction and `evaluation.stopping`. From 10 replicates on it is at most 5 % wider
than Satterthwaite's.

**Differences of mean squares.** Where a part can only be had as one mean square less another, its term is
t(degrees)^2 * added - z^2 * subtracted, never below 0 (in the manner of Graybill & Wang 1980 and Ting et al. 1990),
which does not lose the part where the first mean square comes out small.

`python -m benchmarks.coverage` shows the coverage of all this; `tests/evaluation/test_coverage.py` holds it to that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtri, stdtr, stdtrit

from evaluation.image_values import FloatArray, ImageValues, IntArray

SMALLEST_P = 1e-100
DRAWS_TO_FIT = 0.4
"""The variance of the gain between training sets, over that between fits to one training set: taken for granted where
the data cannot tell, which is in one data set (Bengio & Grandvalet 2004) and with one seed. Measured on MNIST with 10
images per class: 0.40^2 / 0.68^2 = 0.35 with seeds of each arm's own, 0.45 (give or take 0.3) with seeds that both arms
share (`python -m benchmarks.seeds`)."""


@dataclass(frozen=True, kw_only=True)
class ErrorSource:
    """One source of error: its estimated part in the variance of the mean, `added` - `subtracted`.

    Attributes:
        degrees: degrees of freedom of `added`.
        trusted: share of `subtracted` that the interval takes off; below 1 where `subtracted` is itself uncertain.
        shrinks: whether more replicates make it smaller; None where the data cannot tell.
    """

    added: float
    degrees: float
    shrinks: bool | None
    subtracted: float = 0.0
    trusted: float = 1.0

    @property
    def variance(self) -> float:
        """The estimate, 0 where it comes out negative."""
        return max(0.0, self.added - self.subtracted)

    def times(self, factor: float, *, shrinks: bool) -> "ErrorSource":
        """Return the source that is this one times a factor."""
        return replace(self, added=factor * self.added, subtracted=factor * self.subtracted, shrinks=shrinks)

    def squared_half_width(self, alpha: float) -> float:
        """Return this source's term of the squared half width of an interval that errs with probability `alpha`."""
        added = _t_quantile(alpha, self.degrees) ** 2 * self.added
        if not self.subtracted:
            return added
        return max(0.0, added - float(ndtri(alpha / 2)) ** 2 * self.trusted * self.subtracted)


@dataclass(frozen=True, kw_only=True)
class VarianceParts:
    """What makes up the variance of the mean; the parts add up to it.

    Attributes:
        draws: which images the subset holds, and the GAN made from them; shrinks with more replicates.
        seeds: the classifiers' seeds; shrinks with more seeds and with more replicates. None where each arm has a
            single seed, and `draws` holds both.
        test_images: shrinks with more test images alone.
        overlap: that replicates share images, so that they agree by chance; shrinks with a larger pool or data set.
    """

    draws: float
    seeds: float | None
    test_images: float
    overlap: float

    @property
    def total(self) -> float:
        """The variance of the mean."""
        return self.draws + (self.seeds or 0.0) + self.test_images + self.overlap


@dataclass(frozen=True, kw_only=True)
class NextDraw:
    """What the study says of one new subset, with one GAN and one classifier per arm.

    Attributes:
        low, high: prediction interval for the true gain on that subset.
        probability_of_gain: that it is above 0.
    """

    low: float
    high: float
    probability_of_gain: float


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """Why there is no estimate."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean difference with all its errors.

    Attributes:
        values: the mean difference of each replicate.
        seeds: classifier seeds per arm and replicate.
        one_draw: the variance of the true gain between subsets, each with one GAN and one classifier seed per arm.
    """

    mean: float
    values: tuple[float, ...]
    seeds: int
    sources: tuple[ErrorSource, ...]
    parts: VarianceParts
    one_draw: ErrorSource

    @property
    def standard_error(self) -> float:
        """Square root of the estimated variance of the mean."""
        return math.sqrt(self.parts.total)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the standard error by Satterthwaite (1946); the interval does not use them."""
        return _satterthwaite(self.sources)

    @property
    def draw_variance(self) -> float:
        """Variance between replicates beyond that of the classifiers' seeds; all of it where there is one seed."""
        return self.parts.draws * len(self.values)

    @property
    def seed_variance(self) -> float | None:
        """Variance between the classifier seeds of one replicate; None where there is one seed."""
        return None if self.parts.seeds is None else self.parts.seeds * len(self.values) * self.seeds

    def half_width(self, level: float) -> float:
        """Return half the width of the interval."""
        return math.sqrt(sum(source.squared_half_width(1 - level) for source in self.sources))

    def interval(self, level: float) -> tuple[float, float]:
        """Return the two-sided confidence interval of the true gain.

        Args:
            level: such as 0.95.
        """
        half = self.half_width(level)
        return self.mean - half, self.mean + half

    def p_value(self, null: float = 0.0) -> float:
        """Return the two-sided p-value of a true gain of `null`: 1 - the level whose interval ends at it."""
        distance = abs(self.mean - null)

        def excess(log_alpha: float) -> float:
            return sum(source.squared_half_width(math.exp(log_alpha)) for source in self.sources) - distance**2

        if excess(0.0) >= 0:
            return 1.0
        lowest = math.log(SMALLEST_P)
        if excess(lowest) <= 0:
            return SMALLEST_P
        return math.exp(float(brentq(excess, lowest, 0.0)))

    def next_draw(self, level: float) -> NextDraw:
        """Say what gain somebody with one subset may expect.

        The prediction interval carries the mean's own error and the spread between subsets and seeds. It leaves out
        the test images of that person: it is about his true gain, not about what a test would show.
        """
        half = math.sqrt(self.half_width(level) ** 2 + self.one_draw.squared_half_width(1 - level))
        spread = math.sqrt(self.parts.total + self.one_draw.variance)
        degrees = _satterthwaite((*self.sources, self.one_draw))
        return NextDraw(
            low=self.mean - half,
            high=self.mean + half,
            probability_of_gain=float(stdtr(degrees, self.mean / spread)) if spread else float(self.mean > 0),
        )

    def projected_half_width(
        self, level: float, *, replicates: int, factor: float = 1.0, optimistic: bool = True
    ) -> float:
        """Return half the width of the interval from more or fewer replicates of the same kind.

        Args:
            replicates: 2 or more.
            factor: by which the variance between replicates differs from its estimate.
            optimistic: whether a source of which the data cannot tell shrinks with more replicates.
        """
        growth = replicates / len(self.values)
        squared = 0.0
        for source in self.sources:
            if source.shrinks or (source.shrinks is None and optimistic):
                degrees = max(1.0, source.degrees * growth)
                squared += replace(source, degrees=degrees).squared_half_width(1 - level) * factor / growth
            else:
                squared += source.squared_half_width(1 - level)
        return math.sqrt(squared)


@dataclass(frozen=True, kw_only=True)
class FreshDraws:
    """Each replicate draws its subset from a pool; all of them are judged on the same test images.

    Attributes:
        overlap: mean share of its images that a subset has in common with another one, below 1 (`mean_overlap`). Where
            gains are linear in the images, overlap o makes the variance of the mean s^2 (1 / R + o / (1 - o)), with s^2
            the variance between subsets, seen from the pool. Draws that do not overlap need no such term.
        clusters: (N,) int64, which test images belong together, such as those of one patient; None: each by itself.
    """

    overlap: float = 0.0
    clusters: IntArray | None = None

    def estimate(self, gains: ImageValues) -> Estimate | Unavailable:
        """Estimate the mean and its errors.

        With x the seeds' mean, (R, N), V_R = var(mean over i of x), V_I = var(mean over r of x) and V_RI the residual
        mean square of x, the variance of the mean is

            V_R / R + (V_I - V_RI / R) / N + overlap / (1 - overlap) * (V_R - V_S / S),

        with V_S the variance between the S seeds of a replicate. With one seed, which cannot tell draws from fits, the
        share of V_R that `DRAWS_TO_FIT` leaves to draws is taken in the last term. The first two are taken as the
        errors of images, V_I / N, and what replicates differ beyond these, (V_R - V_RI / N) / R: where all replicates
        show the same difference by chance, the errors of images are still there.

        Args:
            gains: values (R, S, N): the difference of two arms.
        """
        values = gains.values
        if reason := _why_unavailable(values, clusters=self.clusters, least=2, what="replicates"):
            return Unavailable(reason=reason)
        if self.clusters is not None:
            gains = _clustered(gains, self.clusters)
            values = gains.values
        replicates, seeds, images = values.shape
        by_seed = values.mean(2)
        by_replicate = by_seed.mean(1)
        mean = float(by_replicate.mean())
        by_image = values.mean((0, 1))
        residual = _residual(values.mean(1), by_replicate, by_image)
        between = float(by_replicate.var(ddof=1))
        seed_variance = float(by_seed.var(1, ddof=1).mean()) if seeds > 1 else 0.0
        repeated = residual / (replicates * images)
        of_replicates = ErrorSource(
            added=between / replicates, subtracted=repeated, degrees=replicates - 1, shrinks=True
        )
        of_answers = ErrorSource(added=repeated, degrees=(replicates - 1) * (images - 1), shrinks=True)
        test_images = ErrorSource(
            added=(float(by_image.var(ddof=1)) + _rare_images(by_image, gains.unit)) / images,
            subtracted=repeated,
            degrees=images - 1,
            shrinks=False,
        )
        shared = self.overlap / (1 - self.overlap) * (1.0 if seeds > 1 else DRAWS_TO_FIT / (1 + DRAWS_TO_FIT))
        overlap = ErrorSource(
            added=shared * between,
            subtracted=shared * seed_variance / seeds,
            trusted=1 - math.sqrt(2 / (replicates * (seeds - 1))) if seeds > 1 else 1.0,
            degrees=replicates - 1,
            shrinks=False,
        )
        shrinking = of_replicates.variance + of_answers.variance
        return Estimate(
            mean=mean,
            values=tuple(by_replicate.tolist()),
            seeds=seeds,
            sources=(of_replicates, of_answers, test_images, overlap),
            parts=_parts(shrinking, seed_variance / (replicates * seeds), test_images, overlap, seeds=seeds),
            one_draw=ErrorSource(
                added=between + (1 - 1 / seeds) * seed_variance,
                subtracted=_residual_of_one(values) / images,
                degrees=replicates - 1,
                shrinks=False,
            ),
        )

    def of(self, images: npt.NDArray[np.bool_]) -> "FreshDraws":
        """Return the design of some of the test images, (N,) bool."""
        return replace(self, clusters=None if self.clusters is None else self.clusters[images])


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """One data set and no larger pool: repeated stratified K-fold, each image tested once in each repeat.

    The interval is for the population that the data set was sampled from, and a training set of (K - 1) / K of its
    images. No unbiased variance of a cross-validated mean exists (Bengio & Grandvalet 2004). The corrected resampled
    variance of Nadeau & Bengio (2003), s^2 (1 / R + 1 / (K - 1)) over all R folds, is valid but wasteful: it takes the
    whole variance between folds for shared, most of which is the test images of each fold, and each image's own
    mean over the repeats shows what these are worth. So the two are taken apart:

    - *test images*: V_I / P, with V_I the variance between the images' means over repeats, P images;
    - *folds*: V_F / R, with V_F the variance between folds beyond that of their test images (one-way analysis of
      variance within repeats): seeds, GANs, and what little the training sets differ;
    - *overlap*: kappa V_F1, for what all folds share by being from one data set, V_F1 being V_F with one seed.

    In a model where the gain is linear in the training images, the overlap is tau (K - 1) / K with tau the variance
    between independent training sets, and V_F1 = tau / (K - 1) + phi with phi the variance between fits. With tau =
    rho phi this makes kappa = rho (K - 1)^2 / (K (K - 1 + rho)): 0.29 for 5 folds and rho = `DRAWS_TO_FIT`, where
    Nadeau & Bengio have 0.25. Were rho 0.7, intervals of 20 fits would miss in 3 % of studies of 200 images, 5 % of 500
    and 9 % of 2,000 where 5 % are promised (simulated): the errors of images hide it in small sets. The fewer folds,
    the less of the interval is due to not knowing V_F, and the fewer images are trained on.

    Attributes:
        folds: (J, P) int64, the fold of each image in each of J repeats, 0 to K - 1.
        classes: (P,) int64, by which the folds are stratified: classes differ in their gain, but folds do not for that;
            None where they are not.
        clusters: (P,) int64, which images never cross a fold, such as those of one patient; None: each by itself.
        num_folds: K, where the last ones test none of these images; 0: the last one does.
    """

    folds: IntArray
    classes: IntArray | None = None
    clusters: IntArray | None = None
    num_folds: int = 0

    def estimate(self, gains: ImageValues) -> Estimate | Unavailable:
        """Estimate the mean and its errors.

        Args:
            gains: values (J, S, P): the difference of two arms on each image, from the fold that tested it.

        Raises:
            ValueError: a cluster's images are in several folds of one repeat.
        """
        values = gains.values
        if reason := _why_unavailable(values, clusters=self.clusters, least=1, what="repeats"):
            return Unavailable(reason=reason)
        by_fold_and_seed = _Folds.of(self.folds).means(values)
        folds = self.folds
        without_classes = values if self.classes is None else _without_class_means(values, self.classes)
        if self.clusters is not None:
            without_classes = _clustered(ImageValues(values=without_classes), self.clusters).values
            gains = _clustered(gains, self.clusters)
            folds = _folds_of_clusters(self.folds, self.clusters)
        layout = _Folds.of(folds)
        if layout.degrees < 1:
            return Unavailable(reason="an interval needs images in 2 folds or more of a repeat")
        of_folds, of_fits = layout.variances(without_classes)
        cells, seeds = by_fold_and_seed.shape
        kappa = shared_by_folds(max(layout.folds, self.num_folds))
        by_fold, overlap = of_folds.times(1 / cells, shrinks=True), of_fits.times(kappa, shrinks=False)
        repeated, test_images = _errors_of_images(gains)
        seed_variance = float(by_fold_and_seed.var(1, ddof=1).mean()) if seeds > 1 else 0.0
        return Estimate(
            mean=float(gains.values.mean()),
            values=tuple(by_fold_and_seed.mean(1).tolist()),
            seeds=seeds,
            sources=(by_fold, repeated, test_images, overlap),
            parts=_parts(
                by_fold.variance + repeated.variance,
                seed_variance / (cells * seeds),
                test_images,
                overlap,
                seeds=seeds,
            ),
            one_draw=of_fits.times(1 + kappa, shrinks=False),
        )

    def of(self, images: npt.NDArray[np.bool_]) -> "CrossValidation":
        """Return the design of some of the images, (P,) bool."""
        return CrossValidation(
            folds=self.folds[:, images],
            num_folds=max(int(self.folds.max()) + 1, self.num_folds),
            classes=None if self.classes is None else self.classes[images],
            clusters=None if self.clusters is None else self.clusters[images],
        )


Design = FreshDraws | CrossValidation


def mean_overlap(subsets: Sequence[IntArray]) -> float:
    """Return the mean share of its images that one replicate's subset has in common with another's.

    Args:
        subsets: for each replicate, the rows of the pool that it drew, (n,) int64, each row once.
    """
    if len(subsets) < 2:
        return 0.0
    drawn = np.unique(np.concatenate(subsets), return_counts=True)[1]
    pairs = float((drawn * (drawn - 1.0)).sum())
    return pairs / ((len(subsets) - 1) * sum(len(subset) for subset in subsets))


def shared_by_folds(folds: int) -> float:
    """Return kappa of `CrossValidation`: the variance that K folds share, over that between them."""
    others = folds - 1
    return DRAWS_TO_FIT * others**2 / (folds * (others + DRAWS_TO_FIT))


@dataclass(frozen=True, kw_only=True)
class _Folds:
    """The one-way layout of images in folds, within repeats.

    Attributes:
        cells: (J * P,) int64, for each image in each repeat its fold, numbered from 0 over all repeats.
        sizes: (R,) int64, images in each of these.
        repeat_of: (R,) int64.
        folds: K, the most folds of any repeat.
    """

    cells: IntArray
    sizes: IntArray
    repeat_of: IntArray
    folds: int

    @classmethod
    def of(cls, folds: IntArray) -> "_Folds":
        repeats = folds.shape[0]
        widest = int(folds.max()) + 1
        numbered = (folds + widest * np.arange(repeats)[:, None]).ravel()
        present, cells, sizes = np.unique(numbered, return_inverse=True, return_counts=True)
        return cls(cells=cells, sizes=sizes, repeat_of=present // widest, folds=widest)

    @property
    def degrees(self) -> int:
        return len(self.sizes) - len(np.unique(self.repeat_of))

    def means(self, values: FloatArray) -> FloatArray:
        """Return the mean of each fold, (R, S), of values (J, S, P)."""
        seeds = values.shape[1]
        sums = [np.bincount(self.cells, values[:, seed].ravel(), len(self.sizes)) for seed in range(seeds)]
        means: FloatArray = np.stack(sums, axis=1) / self.sizes[:, None]
        return means

    def variances(self, values: FloatArray) -> tuple[ErrorSource, ErrorSource]:
        """Return the variance between folds beyond that of the images in them, and the same with a single seed.

        Of what the images alone explain, a third of its standard error less is taken off than is estimated: simulation
        needs as much where it is most of what folds differ.

        Args:
            values: (J, S, P).
        """
        seeds = values.shape[1]
        between, within = self._mean_squares(values.mean(1))
        of_folds = ErrorSource(
            added=between,
            subtracted=within,
            trusted=1 - math.sqrt(2 / self.degrees) / 3,
            degrees=self.degrees,
            shrinks=None,
        )
        if seeds == 1:
            return of_folds, of_folds
        of_seeds = (1 - 1 / seeds) * float(self.means(values).var(1, ddof=1).mean())
        seed_degrees = len(self.sizes) * (seeds - 1)
        spread = between**2 / self.degrees + of_seeds**2 / seed_degrees
        degrees = (between + of_seeds) ** 2 / spread if spread else float(self.degrees)
        of_fits = ErrorSource(
            added=between + of_seeds,
            subtracted=float(np.mean([self._mean_squares(values[:, seed])[1] for seed in range(seeds)])),
            trusted=1 - math.sqrt(2 / degrees) / 3,
            degrees=degrees,
            shrinks=None,
        )
        return of_folds, of_fits

    def _mean_squares(self, values: FloatArray) -> tuple[float, float]:
        """Return the variance of the folds' means of values (J, P), and that expected from the images in them alone."""
        images = values.shape[1]
        means = self.means(values[:, None])[:, 0]
        deviations = means - values.mean(1)[self.repeat_of]
        between = float((self.sizes * deviations**2).sum()) / self.degrees
        rest = values.size - len(self.sizes)
        within = float(((values.ravel() - means[self.cells]) ** 2).sum()) / rest if rest else 0.0
        typical_size = (values.size - float((self.sizes**2).sum()) / images) / self.degrees
        return between / typical_size, within / typical_size


def _errors_of_images(gains: ImageValues) -> tuple[ErrorSource, ErrorSource]:
    """Return what more repeats make smaller of the images' errors, and what they leave; values (J, S, P)."""
    values = gains.values
    repeats, _, images = values.shape
    by_image = values.mean((0, 1))
    variance = (float(by_image.var(ddof=1)) + _rare_images(by_image, gains.unit)) / images
    if repeats == 1:  # which of it is which cannot be told
        nothing = ErrorSource(added=0.0, degrees=math.inf, shrinks=True)
        return nothing, ErrorSource(added=variance, degrees=images - 1, shrinks=None)
    within = float(values.mean(1).var(0, ddof=1).mean()) / (repeats * images)
    repeated = ErrorSource(added=within, degrees=(repeats - 1) * (images - 1), shrinks=True)
    return repeated, ErrorSource(added=variance, subtracted=within, degrees=images - 1, shrinks=False)


def _parts(
    shrinking: float, seeds_part: float, test_images: ErrorSource, overlap: ErrorSource, *, seeds: int
) -> VarianceParts:
    """Tell the seeds' part of what shrinks with more replicates from that of the draws."""
    of_seeds = min(shrinking, seeds_part)
    return VarianceParts(
        draws=shrinking - of_seeds,
        seeds=of_seeds if seeds > 1 else None,
        test_images=test_images.variance,
        overlap=overlap.variance,
    )


def _residual(values: FloatArray, by_row: FloatArray, by_image: FloatArray) -> float:
    """Return the residual mean square of a two-way table (R, N), R and N 2 or more."""
    rows, images = values.shape
    residuals = values - by_row[:, None] - by_image + by_row.mean()
    return float(np.sum(residuals**2) / ((rows - 1) * (images - 1)))


def _residual_of_one(values: FloatArray) -> float:
    """Return the residual mean square, replicates by images, with a single seed: the mean over seeds, (R, S, N)."""
    of_seeds = [_residual(one, one.mean(1), one.mean(0)) for one in values.swapaxes(0, 1)]
    return float(np.mean(of_seeds))


def _rare_images(by_image: FloatArray, unit: float) -> float:
    """Return what is added to the variance between images for those that the test set happens to lack.

    With few images that differ, their variance says little: two arms that answer alike on all of 60 images need not
    answer alike on the next one. One more image is counted, as Agresti & Min (2005, Statistics in Medicine 24, 729)
    do for matched pairs: as large as those that differ, or as `unit` where next to none does.
    """
    squares = (by_image - by_image.mean()) ** 2
    total = float(squares.sum())
    differing = total**2 / float((squares**2).sum()) if total else 0.0  # 0/1 values: their number
    images = by_image.size
    typical = (total + unit**2 / (differing + 1)) / (differing + 1)
    return typical * images / (images + 2) ** 2


def _clustered(gains: ImageValues, clusters: IntArray) -> ImageValues:
    """Return values per cluster, (..., G), whose mean over clusters is that over images."""
    index, sizes = np.unique(clusters, return_inverse=True, return_counts=True)[1:]
    order = np.argsort(index, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    means = gains.values.mean(-1, keepdims=True)
    sums = np.add.reduceat((gains.values - means)[..., order], starts, axis=-1)
    share = len(sizes) / clusters.size
    return ImageValues(values=means + share * sums, unit=gains.unit * share * int(sizes.max()))


def _folds_of_clusters(folds: IntArray, clusters: IntArray) -> IntArray:
    first, index = np.unique(clusters, return_index=True, return_inverse=True)[1:]
    of_clusters: IntArray = folds[:, first]
    if not np.array_equal(of_clusters[:, index], folds):
        raise ValueError("images of one cluster are in several folds of one repeat")
    return of_clusters


def _without_class_means(values: FloatArray, classes: IntArray) -> FloatArray:
    index, sizes = np.unique(classes, return_inverse=True, return_counts=True)[1:]
    by_image = values.mean((0, 1))
    means = np.bincount(index, by_image) / sizes
    centred: FloatArray = values - means[index]
    return centred


def _why_unavailable(values: FloatArray, *, clusters: IntArray | None, least: int, what: str) -> str:
    if values.ndim != 3:
        raise ValueError(f"values must be (replicates or repeats, seeds, images), not {values.shape}")
    if values.shape[0] < least:
        return f"an interval needs {least} {what} or more"
    images = values.shape[2] if clusters is None else len(np.unique(clusters))
    if images < 2:
        return "an interval needs 2 test images or more" + ("" if clusters is None else " that do not belong together")
    return ""


def _satterthwaite(sources: Sequence[ErrorSource]) -> float:
    total = sum(source.variance for source in sources)
    spread = sum(source.variance**2 / source.degrees for source in sources)
    return float(total**2 / spread) if spread else math.inf


def _t_quantile(alpha: float, degrees: float) -> float:
    if math.isinf(degrees):
        return -float(ndtri(alpha / 2))
    return -float(stdtrit(degrees, alpha / 2))
