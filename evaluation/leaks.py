"""Leaks: which samples are real images, the very ones or altered, and from which part of the data.

Exact copies are found by their digest among all images, altered ones by `evaluation.matching`. Real images that can be
copies of nothing are looked for in the same way: what is found among them is what to expect of an honest generator.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from scipy import stats

from data.images import LabelledImages, identities
from evaluation.matching import LEAST_REFERENCES, Floats, Gallery, Indices, reduced_vectors, split_gallery
from evaluation.memorisation import Labels, matched, nearest

RATIOS = (0.1, 0.2)  # of `evaluation.matching.Matches`; the one that tells most is taken, and paid for
CONFIDENCE = 0.95


class CopySearch(BaseModel, frozen=True, extra="forbid"):
    """Copies among the samples of the images of one part of the data.

    Attributes:
        exact: samples that are one of the images, pixel by pixel; `exact_unseen` is the share among real images.
        share: of samples that are a copy, exact or altered, with its Clopper-Pearson interval (95%).
        unseen_share: the same share among real images that are copies of none: what to expect.
        p_value: one-sided Fisher test of `share` against `unseen_share`, corrected for the ratios that were tried.
        alike_probability: how often a sample resembles one of the images alone more than an unseen real image does;
            1/2 is expected, and `alike_p_value` a one-sided Mann-Whitney test. It tells where nearly all samples are
            strongly altered copies.
    """

    among: str
    num_samples: int
    num_references: int
    num_unseen: int
    exact: int
    exact_unseen: float
    share: float | None
    low: float | None
    high: float | None
    unseen_share: float | None
    p_value: float | None
    alike_probability: float | None
    alike_p_value: float | None
    unavailable: str = ""


class LeakTest(BaseModel, frozen=True, extra="forbid"):
    """Do samples lie nearer to the test images than to as many unseen train images of the same classes, or farther?

    Attributes:
        share: of samples whose nearest image is a test image.
        usual: the same share of real train images that are neither: where train and test differ, an honest generator's
            samples lie between that and a half.
        beyond: by how much the share is above or below that range.
        p_value: of that, two-sided; it holds for samples that depend on each other (see `leak_test`).
    """

    share: float | None
    usual: float | None
    beyond: float | None
    p_value: float | None
    unavailable: str = ""


class Leaks(BaseModel, frozen=True, extra="forbid"):
    """Copies of each part of the data, and whether the samples keep to the test images."""

    training: CopySearch
    pool: CopySearch
    test: CopySearch
    preference: LeakTest


def exact_copies(images: LabelledImages, known: frozenset[bytes]) -> npt.NDArray[np.bool_]:
    """Tell which images (N,) are one of those with the known identities, pixel by pixel."""
    return np.array([identity in known for identity in identities(images)], np.bool_)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the data in which copies are looked for, made ready once for any number of searches.

    Attributes:
        among: what the references are, in words.
        unseen: real images beside them, which can be copies of none; what is found among these is what to expect.
        split: what the references are a part of, where its gallery shall be kept for other cells; None elsewhere.
    """

    among: str
    references: LabelledImages
    unseen: LabelledImages
    split: LabelledImages | None = None

    @cached_property
    def _rows(self) -> Indices | None:
        """Where in the split the references lie, (M,); None where they are all that there is."""
        if self.split is None or len(self.split) == len(self.references):
            return None
        return np.flatnonzero(np.isin(self.split.rows, self.references.rows))

    @cached_property
    def identities(self) -> frozenset[bytes]:
        """Of the references."""
        known = identities(self.references if self.split is None else self.split)
        return frozenset(known if self._rows is None else [known[row] for row in self._rows])

    @cached_property
    def _gallery(self) -> Gallery:
        return Gallery(self.references) if self.split is None else split_gallery(self.split)

    def ratios(self, images: LabelledImages) -> Floats:
        """Return by how much images resemble one reference alone, (N,); see `evaluation.matching.Matches`."""
        return self._gallery.match(images, among=self._rows).ratio

    @cached_property
    def exact_unseen(self) -> npt.NDArray[np.bool_]:
        return exact_copies(self.unseen, self.identities)

    @cached_property
    def unseen_ratios(self) -> Floats:
        return np.where(self.exact_unseen, 0.0, self.ratios(self.unseen))


@dataclass(frozen=True, kw_only=True)
class LeakParts:
    """All that leaks are looked for in: three parts of the data, and train images of both sides of `leak_test`."""

    training: Part
    pool: Part
    test: Part
    usual: LabelledImages
    others: LabelledImages


def search_copies(part: Part, samples: LabelledImages) -> CopySearch:
    """Look for copies of a part's references, beside what is found among its unseen real images."""
    among, references, unseen = part.among, part.references, part.unseen
    exact, exact_unseen = exact_copies(samples, part.identities), part.exact_unseen
    reason = "no other real images" if not len(unseen) else ""
    if len(references) < LEAST_REFERENCES:
        reason = f"only {len(references)} images to look for copies of"
    if reason:
        return CopySearch(
            among=among,
            num_samples=len(samples),
            num_references=len(references),
            num_unseen=len(unseen),
            exact=int(exact.sum()),
            exact_unseen=float(exact_unseen.mean()) if len(unseen) else 0.0,
            share=None,
            low=None,
            high=None,
            unseen_share=None,
            p_value=None,
            alike_probability=None,
            alike_p_value=None,
            unavailable=reason,
        )
    mine = np.where(exact, 0.0, part.ratios(samples))
    theirs = part.unseen_ratios
    tried = [(_more_often(mine < ratio, theirs < ratio), ratio) for ratio in RATIOS]
    p_value, ratio = min(tried)
    found = int((mine < ratio).sum())
    interval = stats.binomtest(found, len(mine)).proportion_ci(CONFIDENCE, method="exact")
    alike = stats.mannwhitneyu(mine, theirs, alternative="less")
    return CopySearch(
        among=among,
        num_samples=len(mine),
        num_references=len(references),
        num_unseen=len(theirs),
        exact=int(exact.sum()),
        exact_unseen=float(exact_unseen.mean()),
        share=found / len(mine),
        low=float(interval.low),
        high=float(interval.high),
        unseen_share=float((theirs < ratio).mean()),
        p_value=min(1.0, len(RATIOS) * p_value),
        alike_probability=1 - float(alike.statistic) / (len(mine) * len(theirs)),
        alike_p_value=float(alike.pvalue),
    )


def _more_often(mine: npt.NDArray[np.bool_], theirs: npt.NDArray[np.bool_]) -> float:
    table = np.array([[mine.sum(), (~mine).sum()], [theirs.sum(), (~theirs).sum()]])
    return float(stats.fisher_exact(table, alternative="greater").pvalue)


def leak_test(
    samples: LabelledImages,
    *,
    test: LabelledImages,
    unseen: LabelledImages,
    usual: LabelledImages,
    rng: np.random.Generator,
) -> LeakTest:
    """Tell whether samples lie nearer to test than to unseen train images, or farther, against other real images.

    Both sides get the same number of images of each class. If samples have seen neither, which side a reference image
    belongs to says nothing, so that its `c` samples fall on either side together: the count of the test side has the
    variance sum(c^2)/4, however the samples depend on each other. The same holds of the real images in `usual`. Their
    share differs from a half where train and test do: in MNIST they lie nearer to train images by the same writers. A
    generator takes on some of that, so that only a share beyond both tells of a leak. (Of 12 GANs of 10 images per
    class the test against `usual` alone failed one, and the share was above it in all.) Distances are those of reduced
    images.
    """
    counts = np.minimum(test.class_counts(), unseen.class_counts())
    if counts.sum() == 0:
        reason = "there are no unseen train images to compare the test images with"
        return LeakTest(share=None, usual=None, beyond=None, p_value=None, unavailable=reason)
    references = np.concatenate([reduced_vectors(matched(part, counts, rng).images) for part in (test, unseen)])
    is_test = np.arange(len(references)) < counts.sum()
    share, variance = _preference(reduced_vectors(samples.images), references, is_test)
    expected, uncertainty = (0.5, 0.0)
    if len(usual):
        expected, uncertainty = _preference(reduced_vectors(usual.images), references, is_test)
    nearest_honest = min(max(share, min(expected, 0.5)), max(expected, 0.5))
    beyond = share - nearest_honest
    error = math.sqrt(variance + (uncertainty if nearest_honest == expected else 0.0))
    return LeakTest(share=share, usual=expected, beyond=beyond, p_value=float(2 * stats.norm.sf(abs(beyond) / error)))


def _preference(
    images: npt.NDArray[np.float32], references: npt.NDArray[np.float32], is_test: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the share of images whose nearest reference is a test image, and its variance."""
    found, _ = nearest(images, references)
    counts: Labels = np.bincount(found, minlength=len(references))
    return float(is_test[found].mean()), float(np.square(counts).sum()) / (4 * len(images) ** 2)
