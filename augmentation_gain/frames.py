"""A report's figures as pandas frames. Accuracies and gains are shares in [0, 1]: 0.01 is one point."""

import pandas as pd

from evaluation.arms import HEADLINE_ARM
from evaluation.gains import Gain
from evaluation.reporting.report import StudyReport


def arms_frame(report: StudyReport) -> pd.DataFrame:
    """Return a row for each regime and arm: means over replicates, and standard deviations where there are several.

    Of folds, macro-F1 and the recall of rare classes are taken of each repeat, which tests all images, as gains are.
    """
    return pd.DataFrame(
        [
            {
                "regime": regime.name,
                "arm": arm.name,
                "replicates": regime.num_replicates,
                "seeds": arm.seeds,
                "accuracy": arm.accuracy.mean,
                "accuracy_sd": arm.accuracy.sd,
                "macro_f1": arm.macro_f1.mean,
                "macro_f1_sd": arm.macro_f1.sd,
                "tail_recall": None if arm.tail_recall is None else arm.tail_recall.mean,
                "ece": arm.ece,
                "negative_log_likelihood": arm.negative_log_likelihood,
                "brier": arm.brier,
            }
            for regime in report.regimes
            for arm in regime.arms
        ]
    )


def gains_frame(report: StudyReport) -> pd.DataFrame:
    """Return a row for each gain in accuracy with its interval and verdict.

    The headline stands first in each regime: the GAN's arm over the best arm that needs no GAN. Then the GAN's arm over
    each of these, then every other arm over its own reference. `low` and `high` are missing where there is no interval.
    """
    rows = []
    for regime in report.regimes:
        rows.append(_gain_row(regime.name, HEADLINE_ARM, regime.over, regime.headline, is_headline=True))
        for rival, gain in regime.rivals.items():
            if rival != regime.over:
                rows.append(_gain_row(regime.name, HEADLINE_ARM, rival, gain))
        for arm in regime.arms:
            if arm.accuracy_gain is not None and arm.reference is not None and arm.name != HEADLINE_ARM:
                rows.append(_gain_row(regime.name, arm.name, arm.reference, arm.accuracy_gain))
    return pd.DataFrame(rows)


def _gain_row(regime: str, arm: str, over: str, gain: Gain, *, is_headline: bool = False) -> dict[str, object]:
    return {
        "regime": regime,
        "arm": arm,
        "over": over,
        "headline": is_headline,
        "gain": gain.mean,
        "low": float("nan") if gain.low is None else gain.low,
        "high": float("nan") if gain.high is None else gain.high,
        "verdict": gain.verdict,
    }


def replicates_frame(report: StudyReport) -> pd.DataFrame:
    """Return a row for each regime, replicate and arm, with every metric of its predictions."""
    return pd.DataFrame(
        [
            {"regime": cell.regime, "replicate": cell.replicate, "arm": arm, **metrics}
            for cell in report.cells
            for arm, metrics in cell.metrics.items()
        ]
    )


def classes_frame(report: StudyReport) -> pd.DataFrame:
    """Return a row for each regime and class: the gain in its recall, with an interval for all classes together."""
    return pd.DataFrame(
        [
            {
                "regime": regime.name,
                "class": report.dataset.class_names[gain.label],
                "test_images": gain.images,
                "gain": float("nan") if gain.mean is None else gain.mean,
                "low": float("nan") if gain.low is None else gain.low,
                "high": float("nan") if gain.high is None else gain.high,
            }
            for regime in report.regimes
            for gain in regime.class_gains
        ]
    )
