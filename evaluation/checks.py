"""The named checks of a synthetic set: each a figure against a threshold that was fixed beforehand.

The same checks judge a study's own samples and the planted generators of `evaluation.audit`.
"""

from typing import Literal, get_args

from pydantic import BaseModel

from evaluation.config import CheckThresholds
from evaluation.fidelity import FidelityPair, Measurement
from evaluation.label_fidelity import LabelFidelity
from evaluation.memorisation import Memorisation

CheckName = Literal[
    "not constant",
    "no copies of training images",
    "no data copying",
    "no duplicates",
    "realistic",
    "covers the data",
    "varied in every class",
    "labels are right",
    "test set unseen",
]
CHECK_NAMES: tuple[CheckName, ...] = get_args(CheckName)


class Check(BaseModel, frozen=True, extra="forbid"):
    """One check's outcome.

    Attributes:
        passed: None where it could not be made; `detail` then says why.
        figure: what was measured; `threshold` is what it was held against.
        detail: one line for people.
    """

    name: CheckName
    passed: bool | None
    figure: float | None
    threshold: float
    detail: str


def make_checks(
    *,
    constant_share: float,
    fidelity: FidelityPair,
    classes: tuple[FidelityPair, ...],
    memorisation: Memorisation,
    labels: LabelFidelity,
    config: CheckThresholds,
) -> tuple[Check, ...]:
    """Hold the figures of one synthetic set against the thresholds, in the order of `CHECK_NAMES`.

    Args:
        constant_share: share of images that are one flat colour, in [0, 1].
        fidelity: overall; `classes` by class.
    """
    return (
        Check(
            name="not constant",
            passed=constant_share <= config.max_constant_share,
            figure=constant_share,
            threshold=config.max_constant_share,
            detail=f"{constant_share:.1%} of the images are one flat colour",
        ),
        _surplus(
            "no copies of training images",
            memorisation.copied,
            memorisation.copied_unseen,
            threshold=config.max_copied_share,
            what="lie as near to a training image as only copies do",
        ),
        _data_copying(memorisation, config),
        _surplus(
            "no duplicates",
            memorisation.duplicated,
            memorisation.duplicated_real,
            threshold=config.max_duplicated_share,
            what="nearly repeat another sample",
        ),
        _over_floor(
            "realistic",
            fidelity.synthetic.density,  # precision lets noise pass where one real outlier has a wide ball
            fidelity.floor.density,
            threshold=config.min_density_ratio,
            what="density",
        ),
        _over_floor(
            "covers the data",
            fidelity.synthetic.coverage,
            fidelity.floor.coverage,
            threshold=config.min_coverage_ratio,
            what="coverage",
        ),
        _varied(classes, config),
        _right_labels(labels, config),
        _test_unseen(memorisation, config),
    )


def _unavailable(name: CheckName, threshold: float, reason: str) -> Check:
    return Check(name=name, passed=None, figure=None, threshold=threshold, detail=reason)


def _surplus(name: CheckName, share: Measurement, usual: Measurement, *, threshold: float, what: str) -> Check:
    if share.value is None or usual.value is None:
        return _unavailable(name, threshold, share.unavailable or usual.unavailable)
    surplus = share.value - usual.value
    return Check(
        name=name,
        passed=surplus <= threshold,
        figure=surplus,
        threshold=threshold,
        detail=f"{share.value:.1%} of the samples {what}, against {usual.value:.1%} of real images",
    )


def _data_copying(memorisation: Memorisation, config: CheckThresholds) -> Check:
    test, threshold = memorisation.pixels, config.max_nearer_probability
    if test.z is None or test.nearer_probability is None:
        return _unavailable("no data copying", threshold, test.unavailable)
    return Check(
        name="no data copying",
        passed=test.z >= -config.max_copying_z or test.nearer_probability <= threshold,
        figure=test.nearer_probability,
        threshold=threshold,
        detail=(
            f"a sample is nearer to the training images than an unseen real image in {test.nearer_probability:.1%} "
            f"of pairs (50% is ideal; z = {test.z:.1f})"
        ),
    )


def _over_floor(name: CheckName, figure: Measurement, floor: Measurement, *, threshold: float, what: str) -> Check:
    if figure.value is None or floor.value is None:
        return _unavailable(name, threshold, figure.unavailable or floor.unavailable)
    if floor.value == 0:
        return _unavailable(name, threshold, f"the floor of {what} is 0")
    return Check(
        name=name,
        passed=figure.value >= threshold * floor.value,
        figure=figure.value / floor.value,
        threshold=threshold,
        detail=f"{what} {figure.value:.3f}, real images in the samples' place {floor.value:.3f}",
    )


def _varied(classes: tuple[FidelityPair, ...], config: CheckThresholds) -> Check:
    name: CheckName = "varied in every class"
    threshold = config.min_class_spread
    known = [(pair.synthetic.diversity.value, pair.name) for pair in classes]
    ratios = [(value, label) for value, label in known if value is not None]
    if not ratios:
        return _unavailable(name, threshold, "no class has two samples and two real images")
    worst, label = min(ratios)
    without = len(known) - len(ratios)
    note = f"; not available for {without} classes" if without else ""
    return Check(
        name=name,
        passed=worst >= threshold,
        figure=worst,
        threshold=threshold,
        detail=f"class {label!r} varies least: {worst:.2f} of the real images' spread{note}",
    )


def _right_labels(labels: LabelFidelity, config: CheckThresholds) -> Check:
    name: CheckName = "labels are right"
    threshold = config.max_label_disagreement
    if labels.agreement.value is None or labels.agreement_real.value is None:
        return _unavailable(name, threshold, labels.agreement.unavailable or labels.agreement_real.unavailable)
    surplus = labels.agreement_real.value - labels.agreement.value
    return Check(
        name=name,
        passed=surplus <= threshold,
        figure=surplus,
        threshold=threshold,
        detail=f"the ensemble agrees with {labels.agreement.value:.1%} of the labels, "
        f"with {labels.agreement_real.value:.1%} of real ones",
    )


def _test_unseen(memorisation: Memorisation, config: CheckThresholds) -> Check:
    name: CheckName = "test set unseen"
    threshold, leak = config.max_test_preference, memorisation.leak
    if leak.share is None or leak.p_value is None:
        return _unavailable(name, threshold, leak.unavailable)
    return Check(
        name=name,
        passed=leak.share <= threshold or leak.p_value >= config.significance,
        figure=leak.share,
        threshold=threshold,
        detail=f"{leak.share:.1%} of the samples lie nearer to test than to unseen train images (50% is ideal)",
    )
