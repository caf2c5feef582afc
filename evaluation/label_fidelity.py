"""Label fidelity: does a synthetic image show the class that its label names?

Judge is an ensemble trained on real images (the instrument of `evaluation.features`). Its agreement with the labels
of real train images that were held out from it is the yardstick: it cannot agree more with synthetic ones than its own
errors allow. Test images would be none, since they may be harder or easier than what the generator learnt from.
"""

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from sklearn.metrics import confusion_matrix

from evaluation.fidelity import Measurement

Probabilities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


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
        confusion: entry [label][judged] counts samples.
    """

    num_images: int
    agreement: Measurement
    agreement_real: Measurement
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
    return LabelFidelity(
        num_images=len(labels),
        agreement=_agreement(judged, labels),
        agreement_real=_agreement(real_judged, real[1]),
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
