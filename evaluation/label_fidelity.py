"""Label fidelity: does a synthetic image show the class that its label names?

Judge is an ensemble trained on real images (the instrument of `evaluation.features`). Its agreement with the labels
of real train images that were held out from it is the yardstick: it cannot agree more with synthetic ones than its own
errors allow. Test images would be none, since they may be harder or easier than what the generator learnt from.
"""

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from scipy import stats
from sklearn.metrics import confusion_matrix

from evaluation.fidelity import Measurement

Probabilities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

LEAST_SKILL = 0.1  # by how much right labels must be believed oftener than wrong ones


class ClassAgreement(BaseModel, frozen=True, extra="forbid"):
    """One class: agreement with the synthetic labels, and with real ones beside it."""

    name: str
    num_images: int
    agreement: Measurement
    agreement_real: Measurement


class WorstLabel(BaseModel, frozen=True, extra="forbid"):
    """A sample whose label the ensemble believes least.

    Attributes:
        sample: index in the synthetic set.
        confidence: the probability of its own label; `judged` is the most probable class.
    """

    sample: int
    label: int
    judged: int
    confidence: float


class LabelFidelity(BaseModel, frozen=True, extra="forbid"):
    """Agreement of synthetic labels with the ensemble.

    Attributes:
        num_real: real images that it is compared with.
        agreement_real: with the labels of real images, were their classes as frequent as the samples' are.
        wrong_share: share of the samples' labels that is wrong, were right and wrong labels believed as those of real
            images are; 0 on average where samples are as good as these.
        p_value: one-sided Fisher test of the samples' agreement against that of real images.
        confusion: entry [label][judged] counts samples.
    """

    num_images: int
    num_real: int
    agreement: Measurement
    agreement_real: Measurement
    wrong_share: Measurement
    p_value: float | None
    classes: tuple[ClassAgreement, ...]
    confusion: tuple[tuple[int, ...], ...]
    worst: tuple[WorstLabel, ...]


def measure_label_fidelity(
    probabilities: Probabilities,
    labels: Labels,
    samples: Labels,
    *,
    real: tuple[Probabilities, Labels],
    class_names: tuple[str, ...],
    pictured: int,
) -> LabelFidelity:
    """Compare labels (N,) with the ensemble's probabilities (N, num_classes).

    Args:
        samples: (N,) indices in the synthetic set, for the worst ones.
        real: the same for real images.
        pictured: how many of the worst to name.
    """
    judged, real_judged = probabilities.argmax(1), real[0].argmax(1)
    classes = tuple(
        ClassAgreement(
            name=name,
            num_images=int((labels == label).sum()),
            agreement=_agreement(judged, labels, of_class=label),
            agreement_real=_agreement(real_judged, real[1], of_class=label),
        )
        for label, name in enumerate(class_names)
    )
    own = probabilities[np.arange(len(labels)), labels]
    worst = tuple(
        WorstLabel(
            sample=int(samples[index]),
            label=int(labels[index]),
            judged=int(judged[index]),
            confidence=float(own[index]),
        )
        for index in np.argsort(own, kind="stable")[:pictured]
    )
    counts = confusion_matrix(labels, judged, labels=range(len(class_names)))
    agreement, expected = _agreement(judged, labels), _expected(classes)
    wrong_share, p_value = _wrong_share(
        agreement, expected, sizes=(len(labels), len(real_judged)), num_classes=len(classes)
    )
    return LabelFidelity(
        num_images=len(labels),
        num_real=len(real_judged),
        agreement=agreement,
        agreement_real=expected,
        wrong_share=wrong_share,
        p_value=p_value,
        classes=classes,
        confusion=tuple(tuple(int(count) for count in row) for row in counts),
        worst=worst,
    )


def _agreement(judged: Labels, labels: Labels, *, of_class: int | None = None) -> Measurement:
    selected = slice(None) if of_class is None else labels == of_class
    agrees = judged[selected] == labels[selected]
    if len(agrees) == 0:
        return Measurement(value=None, unavailable="no images of this class")
    return Measurement(value=float(agrees.mean()))


def _expected(classes: tuple[ClassAgreement, ...]) -> Measurement:
    known = [(one.num_images, one.agreement_real.value) for one in classes if one.agreement_real.value is not None]
    total = sum(count for count, _ in known)
    if total == 0:
        return Measurement(value=None, unavailable="no real images of the samples' classes")
    return Measurement(value=sum(count * value for count, value in known) / total)


def _wrong_share(
    agreement: Measurement, expected: Measurement, *, sizes: tuple[int, int], num_classes: int
) -> tuple[Measurement, float | None]:
    """Return the share w of wrong labels, where a share 1 - w is believed as right ones are and w as wrong ones are."""
    if agreement.value is None or expected.value is None:
        return Measurement(value=None, unavailable=agreement.unavailable or expected.unavailable), None
    wrong = (1 - expected.value) / (num_classes - 1)  # of the believed among wrong labels, errors being spread evenly
    if expected.value - wrong < LEAST_SKILL:
        return Measurement(value=None, unavailable="the ensemble hardly recognises real images"), None
    right = np.array(
        [round(value * size) for value, size in zip((agreement.value, expected.value), sizes, strict=True)]
    )
    p_value = stats.fisher_exact(np.stack([right, np.array(sizes) - right]), alternative="less").pvalue
    return Measurement(value=(expected.value - agreement.value) / (expected.value - wrong)), float(p_value)
