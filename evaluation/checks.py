"""The named checks of a synthetic set: each a figure against a threshold that was fixed beforehand, and a grade.

The same checks judge a study's own samples and the planted generators of `evaluation.audit`. *failed*: the figure is
beyond its threshold. *watch*: it is not, yet its test rejects what an ideal generator would give
(`CheckThresholds.rejected`), or it is half way there. *passed*: neither.
"""

from typing import Literal, get_args

from pydantic import BaseModel

from evaluation.class_checks import ClassChecks, WorstClass
from evaluation.config import CheckThresholds
from evaluation.fidelity import FidelityPair, Measurement
from evaluation.label_fidelity import LabelFidelity
from evaluation.leaks import CopySearch, Leaks
from evaluation.memorisation import CopyingTest, Memorisation

CheckName = Literal[
    "not constant",
    "no copies of training images",
    "no copies of other train images",
    "no copies of test images",
    "test set unseen",
    "no data copying",
    "no data copying in features",
    "no duplicates",
    "realistic",
    "covers the data",
    "every class is there",
    "varied in every class",
    "labels are right",
    "labels are right in every class",
]
CHECK_NAMES: tuple[CheckName, ...] = get_args(CheckName)
Grade = Literal["passed", "watch", "failed"]


class Check(BaseModel, frozen=True, extra="forbid"):
    """One check's outcome.

    Attributes:
        grade: None where it could not be made; `detail` then says why.
        figure: what was measured; `threshold` is what it was held against.
        p_value: of the check's test, where it is one.
        detail: one line for people.
    """

    name: CheckName
    grade: Grade | None
    figure: float | None
    threshold: float
    p_value: float | None = None
    detail: str

    @property
    def passed(self) -> bool | None:
        """False where it failed, None where it could not be made; "watch" is no failure."""
        return None if self.grade is None else self.grade != "failed"


def make_checks(
    *,
    constant_share: float,
    fidelity: FidelityPair,
    memorisation: Memorisation,
    leaks: Leaks,
    labels: LabelFidelity,
    classes: ClassChecks,
    config: CheckThresholds,
) -> tuple[Check, ...]:
    """Hold the figures of one synthetic set against the thresholds, in the order of `CHECK_NAMES`.

    Args:
        constant_share: share of images that are one flat colour, in [0, 1].
        fidelity: overall.
    """
    return (
        Check(
            name="not constant",
            grade=_graded(failed=constant_share > config.max_constant_share, watch=constant_share > 0),
            figure=constant_share,
            threshold=config.max_constant_share,
            detail=f"{constant_share:.1%} of the images are one flat colour",
        ),
        _no_copies("no copies of training images", leaks.training, config),
        _no_copies("no copies of other train images", leaks.pool, config),
        _no_copies("no copies of test images", leaks.test, config),
        _test_unseen(leaks, config),
        _data_copying("no data copying", memorisation.pixels, config),
        _data_copying("no data copying in features", memorisation.features, config),
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
        _of_worst_class("every class is there", classes.missing, config),
        _of_worst_class("varied in every class", classes.varied, config),
        _right_labels(labels, config),
        _of_worst_class("labels are right in every class", classes.labels, config),
    )


def _graded(*, failed: bool, watch: bool) -> Grade:
    return "failed" if failed else "watch" if watch else "passed"


def _unavailable(name: CheckName, threshold: float, reason: str) -> Check:
    return Check(name=name, grade=None, figure=None, threshold=threshold, detail=reason)


def _no_copies(name: CheckName, search: CopySearch, config: CheckThresholds) -> Check:
    """Grade a search: exact copies where real images are none, or significantly many altered ones, fail.

    The threshold is what is usual: the share among real images.
    """
    if search.share is None or search.p_value is None or search.unseen_share is None:
        if search.exact and not search.exact_unseen:
            detail = f"{search.exact:,} samples are {search.among}, pixel by pixel"
            return Check(name=name, grade="failed", figure=None, threshold=0.0, detail=detail)
        return _unavailable(name, 0.0, search.unavailable)
    probability, alike_p = search.alike_probability or 0.0, search.alike_p_value or 0.0
    copies = search.p_value < config.copy_significance or (search.exact > 0 and search.exact_unseen == 0)
    deformed = alike_p < config.rejected and probability > config.max_alike_probability
    detail = (
        f"{search.share:.1%} of the samples ({search.low:.1%} to {search.high:.1%}; {search.exact:,} exactly) are "
        f"copies of {search.among}, exact or altered, against {search.unseen_share:.1%} of real images"
    )
    if deformed and not copies:
        detail += f"; in {probability:.0%} of pairs a sample resembles a single one more than an unseen image does"
    return Check(
        name=name,
        grade=_graded(
            failed=copies or deformed,
            watch=search.p_value < config.watched or (probability > 0.5 and alike_p < config.significance),
        ),
        figure=search.share,
        threshold=search.unseen_share,
        p_value=min(1.0, 2 * min(search.p_value, alike_p)),
        detail=detail,
    )


def _surplus(name: CheckName, share: Measurement, usual: Measurement, *, threshold: float, what: str) -> Check:
    if share.value is None or usual.value is None:
        return _unavailable(name, threshold, share.unavailable or usual.unavailable)
    surplus = share.value - usual.value
    return Check(
        name=name,
        grade=_graded(failed=surplus > threshold, watch=surplus > threshold / 2),
        figure=surplus,
        threshold=threshold,
        detail=f"{share.value:.1%} of the samples {what}, against {usual.value:.1%} of real images",
    )


def _data_copying(name: CheckName, test: CopyingTest, config: CheckThresholds) -> Check:
    threshold = config.max_nearer_probability
    if test.p_value is None or test.nearer_probability is None:
        return _unavailable(name, threshold, test.unavailable)
    is_rejected = test.p_value < config.rejected
    return Check(
        name=name,
        grade=_graded(failed=is_rejected and test.nearer_probability > threshold, watch=is_rejected),
        figure=test.nearer_probability,
        threshold=threshold,
        p_value=test.p_value,
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
        grade=_graded(
            failed=figure.value < threshold * floor.value, watch=figure.value < (1 + threshold) / 2 * floor.value
        ),
        figure=figure.value / floor.value,
        threshold=threshold,
        detail=f"{what} {figure.value:.3f}, real images in the samples' place {floor.value:.3f}",
    )


def _right_labels(labels: LabelFidelity, config: CheckThresholds) -> Check:
    name: CheckName = "labels are right"
    threshold, wrong = config.max_label_disagreement, labels.wrong_share.value
    if wrong is None or labels.p_value is None:
        return _unavailable(name, threshold, labels.wrong_share.unavailable)
    return Check(
        name=name,
        grade=_graded(
            failed=wrong > threshold and labels.p_value < config.significance,
            watch=labels.p_value < (config.significance if wrong > threshold / 2 else config.rejected),
        ),
        figure=wrong,
        threshold=threshold,
        p_value=labels.p_value,
        detail=f"the ensemble agrees with {labels.agreement.value:.1%} of the labels, with "
        f"{labels.agreement_real.value:.1%} of real ones: as if {max(0.0, wrong):.0%} were wrong",
    )


def _of_worst_class(name: CheckName, worst: WorstClass, config: CheckThresholds) -> Check:
    if worst.figure is None or worst.p_value is None:
        return _unavailable(name, worst.threshold, worst.detail)
    return Check(
        name=name,
        grade=_graded(
            failed=worst.is_beyond and worst.p_value < config.significance,
            watch=worst.p_value < (config.significance if worst.is_beyond_half else config.rejected),
        ),
        figure=worst.figure,
        threshold=worst.threshold,
        p_value=worst.p_value,
        detail=worst.detail,
    )


def _test_unseen(leaks: Leaks, config: CheckThresholds) -> Check:
    name: CheckName = "test set unseen"
    threshold, leak = config.max_test_preference, leaks.preference
    if leak.share is None or leak.usual is None or leak.beyond is None or leak.p_value is None:
        return _unavailable(name, threshold, leak.unavailable)
    return Check(
        name=name,
        grade=_graded(
            failed=abs(leak.beyond) > threshold and leak.p_value < config.significance,
            watch=leak.p_value < config.significance,
        ),
        figure=leak.beyond,
        threshold=threshold,
        p_value=leak.p_value,
        detail=(
            f"{leak.share:.1%} of the samples lie nearer to test than to unseen train images, {leak.usual:.1%} of "
            "other real images"
        ),
    )
