import numpy as np
import pytest

from benchmarks.long_tail import METRICS, arm_rows, best_reference, figures_of, gains_over_best, told
from benchmarks.protocol import Judge
from data.augmentation import DeformationConfig
from data.base.device import Compute
from evaluation.config import ClassifierConfig

FIGURES = {
    "real+classical": {"macro_f1": [0.9, 0.5], "tail_recall": [0.1, 0.1]},
    "class-weighted": {"macro_f1": [0.6, 0.6], "tail_recall": [0.5, 0.6]},
    "oversampled": {"macro_f1": [0.7, 0.8], "tail_recall": [0.4, 0.5]},
    "evened-out 1.0": {"macro_f1": [0.8, 0.95], "tail_recall": [0.5, 0.8]},
}


def test_best_reference_is_chosen_once_by_its_mean():
    # real+classical is the best of the first draw, oversampled over both
    assert best_reference(FIGURES, "macro_f1") == "oversampled"
    assert best_reference(FIGURES, "tail_recall") == "class-weighted"


def test_gain_is_paired_with_the_best_reference():
    gains = gains_over_best(FIGURES)
    assert set(gains) == {("evened-out 1.0", metric) for metric in METRICS}
    reference, gain = gains["evened-out 1.0", "tail_recall"]
    assert (reference, gain.values) == ("class-weighted", pytest.approx((0, 20)))


def test_results_name_every_arm_and_gain():
    lines = dict(told("here", FIGURES))
    assert lines["here: oversampled, macro-F1"] == "75.00 % (SD 7.07)"
    assert len(lines) == len(FIGURES) * len(METRICS) + len(METRICS)


def test_figures_are_gathered_by_arm_and_share():
    row = {"arm": "evened-out", "evened_out_share": "0.5", "macro_f1": "0.25", "tail_recall": "0.5"}
    other = row | {"arm": "oversampled", "evened_out_share": ""}
    assert figures_of([[row, other], [row, other]]) == {
        "evened-out 0.5": {"macro_f1": [0.25, 0.25], "tail_recall": [0.5, 0.5]},
        "oversampled": {"macro_f1": [0.25, 0.25], "tail_recall": [0.5, 0.5]},
    }


def test_every_arm_of_a_draw_is_judged(striped):
    counts = (10, 5, 1)
    rows = [np.flatnonzero(striped.labels == label)[:count] for label, count in enumerate(counts)]
    judge = Judge(
        config=ClassifierConfig(steps=2, batch_size=8, width=2),
        deformation=DeformationConfig(),
        added_shares=(0.5, 0.5),
        judged_on=striped,
        seed=0,
        compute=Compute(device="cpu", precision="float32"),
    )
    judged = arm_rows(striped.take(np.concatenate(rows)), striped, judge, shares=(1.0, 0.5))
    assert [row["arm"] for row in judged] == [
        "real+classical",
        "class-weighted",
        "oversampled",
        "evened-out",
        "evened-out",
    ]
    assert all(0 <= row["tail_recall"] <= 1 for row in judged)
