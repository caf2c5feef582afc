"""What hides in an average over classes: one that is missing, collapsed to a few images, or labelled wrongly.

Each figure is that of the worst class, with a p-value that Holm's procedure corrects for the number of classes (Holm
1979), so that a hundred good classes do not make one look bad by chance.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel
from scipy import stats

from evaluation.config import CheckThresholds
from evaluation.fidelity import LabelledFeatures, squared_distances

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEWEST = 10  # images of a class, synthetic and real, without which its variety is not judged
NAMED = 5


class WorstClass(BaseModel, frozen=True, extra="forbid"):
    """The class that does worst, over all classes.

    Attributes:
        figure: of that class; None where no class could be judged, for the reason in `detail`.
        p_value: corrected for the number of classes.
        is_beyond, is_beyond_half: whether the figure is beyond the threshold, or half way from what is usual to it.
    """

    figure: float | None
    threshold: float
    p_value: float | None
    is_beyond: bool
    is_beyond_half: bool
    detail: str


class ClassChecks(BaseModel, frozen=True, extra="forbid"):
    """The three things that are looked at in every class."""

    missing: WorstClass
    varied: WorstClass
    labels: WorstClass


def missing_class(
    labels: Labels, training_counts: Labels, *, class_names: tuple[str, ...], config: CheckThresholds
) -> WorstClass:
    """Look for classes of the training images that have far fewer samples than their share.

    Args:
        labels: (N,) of all samples.
        training_counts: (K,) images of each class that the generator saw. Its classes may come evenly or as often as
            there: the smaller of both is expected.
    """
    present = training_counts > 0
    counts = np.bincount(labels, minlength=len(class_names))[present]
    shares = np.minimum(1 / present.sum(), training_counts[present] / training_counts.sum())
    figures = counts / (shares * len(labels))
    p_values = stats.binom.cdf(counts, len(labels), shares)
    names = [name for name, here in zip(class_names, present, strict=True) if here]
    return _worst(
        figures,
        np.asarray(p_values),
        names,
        threshold=config.min_class_share,
        what="has {figure:.0%} of the samples that are its share",
    )


def varied_classes(
    samples: LabelledFeatures, real: LabelledFeatures, *, class_names: tuple[str, ...], config: CheckThresholds
) -> WorstClass:
    """Look for classes whose samples are a few images again and again, if ever so altered.

    Then a sample's nearest other one is nearer, in features, than it is among as many real images (Mann-Whitney test).
    """
    figures, p_values, names = [], [], []
    for label, name in enumerate(class_names):
        mine, theirs = samples.of_class(label), real.of_class(label)
        count = min(len(mine), len(theirs))
        if count < FEWEST:
            continue
        own, usual = _neighbour_distances(mine[:count]), _neighbour_distances(theirs[:count])
        middle = float(np.median(usual))
        figures.append(float(np.median(own)) / middle if middle > 0 else 1.0)
        p_values.append(float(stats.mannwhitneyu(own, usual, alternative="less").pvalue))
        names.append(name)
    return _worst(
        np.array(figures),
        np.array(p_values),
        names,
        threshold=config.min_class_variety,
        what="varies least: its samples keep {figure:.2f} of the distance that real images keep from each other",
        none=f"no class has {FEWEST} samples and as many real images",
    )


def _neighbour_distances(features: npt.NDArray[np.float32]) -> Floats:
    """Return each row's distance to the nearest other one, (N,) float64."""
    rows = torch.from_numpy(features)
    return squared_distances(rows, rows).fill_diagonal_(math.inf).amin(1).sqrt().numpy()


def wrong_labels(
    probabilities: npt.NDArray[np.float32],
    labels: Labels,
    *,
    real: tuple[npt.NDArray[np.float32], Labels],
    class_names: tuple[str, ...],
    config: CheckThresholds,
) -> WorstClass:
    """Look for classes whose samples the ensemble takes for others: the figure is how much rarer it recognises them.

    The test compares the probabilities of the class, of samples and of real images (Mann-Whitney).

    Args:
        probabilities: the ensemble's (N, num_classes) for the samples with labels (N,); `real` the same of real images.
    """
    figures, p_values, names = [], [], []
    for label, name in enumerate(class_names):
        mine, theirs = probabilities[labels == label], real[0][real[1] == label]
        agreement = float((theirs.argmax(1) == label).mean()) if len(theirs) else 0.0
        if not len(mine) or agreement == 0:
            continue
        figures.append(1 - float((mine.argmax(1) == label).mean()) / agreement)
        p_values.append(float(stats.mannwhitneyu(mine[:, label], theirs[:, label], alternative="less").pvalue))
        names.append(name)
    return _worst(
        -np.array(figures),
        np.array(p_values),
        names,
        threshold=-config.max_class_disagreement,
        what="is recognised {figure:.0%} less often than real images of it are",
        none="no class has samples and real images that the ensemble recognises",
    )


def _worst(
    figures: Floats, p_values: Floats, names: list[str], *, threshold: float, what: str, none: str = "no classes"
) -> WorstClass:
    """Return the class with the least figure among those that the test rejects, or else of all.

    A negative threshold turns the scale round: figures below it are beyond it all the same, and are shown positive.
    """
    if not len(figures):
        return WorstClass(
            figure=None, threshold=abs(threshold), p_value=None, is_beyond=False, is_beyond_half=False, detail=none
        )
    corrected = holm(p_values)
    is_beyond = figures < threshold
    order = np.lexsort((figures, corrected, ~is_beyond))
    worst = int(order[0])
    others = [names[index] for index in order if is_beyond[index] and corrected[index] < 1e-3 and index != worst]
    shown = abs(float(figures[worst])) if threshold < 0 else float(figures[worst])
    usual = 0.0 if threshold < 0 else 1.0
    detail = f"class {names[worst]!r} " + what.format(figure=shown)
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        detail += f"; likewise {', '.join(repr(name) for name in others[:NAMED])}{more}"
    return WorstClass(
        figure=shown,
        threshold=abs(threshold),
        p_value=float(corrected[worst]),
        is_beyond=bool(is_beyond[worst]),
        is_beyond_half=bool(figures[worst] < (threshold + usual) / 2),
        detail=detail,
    )


def holm(p_values: Floats) -> Floats:
    """Return p-values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6)."""
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return corrected
