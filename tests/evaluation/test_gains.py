"""From predictions to gains: seeds, folds and groups are put where they belong."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from evaluation.arms import HEADLINE_ARM, HEADLINE_REFERENCE
from evaluation.gains import CellAnswers, RegimeAnswers
from evaluation.intervals import CrossValidation, FreshDraws
from evaluation.predictions import Predictions

RIVALS = ("real", HEADLINE_REFERENCE, "equal-compute")


def answers(rows, labels, right, *, groups=None):
    """Predictions of two classes that are right where `right` says so."""
    predicted = np.where(right, labels, 1 - labels)
    probabilities = np.eye(2, dtype=np.float32)[predicted]
    return Predictions(rows=rows, labels=labels, probabilities=probabilities, groups=groups)


def cell(replicate, shares, *, rows=None, seeds=2, num=200, groups=None):
    rows = np.arange(num) if rows is None else rows
    labels = (rows % 2).astype(np.int64)
    arms = {}
    for place, (arm, share) in enumerate(shares.items()):
        rng = np.random.default_rng([replicate, place])
        arms[arm] = [answers(rows, labels, rng.random(len(rows)) < share, groups=groups) for _ in range(seeds)]
    return CellAnswers(replicate=replicate, subset_rows=np.arange(5) + 5 * replicate, arms=arms)


def shares(headline, rival=0.7):
    return dict.fromkeys(RIVALS, rival) | {HEADLINE_ARM: headline}


def regime(headline, *, replicates=8, rival=0.7, **options):
    return RegimeAnswers.of([cell(r, shares(headline, rival), **options) for r in range(replicates)], folds=1)


def test_fresh_draws_are_replicates_by_seeds_by_images():
    found = regime(0.7)
    assert found.predicted[HEADLINE_ARM].shape == (8, 2, 200)
    assert isinstance(found.design, FreshDraws)
    assert found.design.overlap == 0


def test_shared_rows_of_the_subsets_count_as_overlap():
    cells = [cell(r, shares(0.7)) for r in range(2)]
    shared = [
        CellAnswers(replicate=c.replicate, subset_rows=np.arange(5) + 3 * c.replicate, arms=c.arms) for c in cells
    ]
    assert RegimeAnswers.of(shared, folds=1).design.overlap == pytest.approx(2 / 5)


def test_replicates_of_the_same_images_are_about_these_images():
    cells = [cell(r, shares(0.7)) for r in range(2)]
    same = [CellAnswers(replicate=c.replicate, subset_rows=np.arange(5), arms=c.arms) for c in cells]
    assert RegimeAnswers.of(same, folds=1).design.overlap == 0


def test_mean_gain_is_the_difference_of_the_accuracies():
    found = regime(0.9)
    right = {arm: (found.predicted[arm] == found.labels).mean() for arm in (HEADLINE_ARM, "real")}
    gain = found.gain(HEADLINE_ARM, "real", alpha=0.05, wished_gain=0.005)
    assert gain.mean == pytest.approx(right[HEADLINE_ARM] - right["real"])
    assert len(gain.values) == 8
    assert gain.low < gain.mean < gain.high


def test_headline_helps_only_above_every_arm_without_a_gan():
    better = regime(0.9).headline(alpha=0.05, wished_gain=0.005)
    assert better.gain.verdict == "helps"
    found = RegimeAnswers.of([cell(r, shares(0.9) | {"equal-compute": 0.97}) for r in range(8)], folds=1)
    beaten = found.headline(alpha=0.05, wished_gain=0.005)
    assert (beaten.gain.verdict, beaten.over) == ("hurts", "equal-compute")
    assert beaten.rivals["real"].verdict == "helps"


def test_seeds_that_only_one_arm_has_are_left_out():
    cells = [cell(r, shares(0.9)) for r in range(4)]
    for one in cells:
        one.arms["real"] = one.arms["real"][:1]
    found = RegimeAnswers.of(cells, folds=1)
    assert found.difference(HEADLINE_ARM, "real", metric="accuracy").values.shape == (4, 1, 200)


def folded(headline, *, repeats=2, folds=4, num=200):
    cells = []
    for repeat in range(repeats):
        order = np.random.default_rng(repeat).permutation(num)
        for fold in range(folds):
            rows = np.sort(order[fold::folds])
            cells.append(cell(repeat * folds + fold, shares(headline), rows=rows))
    return cells


def test_folds_of_a_repeat_make_the_whole_data_set():
    found = RegimeAnswers.of(folded(0.9), folds=4)
    assert found.predicted[HEADLINE_ARM].shape == (2, 2, 200)
    assert isinstance(found.design, CrossValidation)
    assert list(found.labels) == list(np.arange(200) % 2)
    assert found.headline(alpha=0.05, wished_gain=0.005).gain.verdict == "helps"


def test_half_a_repeat_is_refused():
    with pytest.raises(ValueError, match="no whole repeats"):
        RegimeAnswers.of(folded(0.9)[:6], folds=4)


def test_other_test_images_are_refused():
    cells = [cell(0, shares(0.9)), cell(1, shares(0.9), rows=np.arange(1, 201))]
    with pytest.raises(ValueError, match="different test images"):
        RegimeAnswers.of(cells, folds=1)


def test_images_that_belong_together_widen_the_interval():
    alone, together = regime(0.75), regime(0.75, groups=np.arange(200) // 20)
    assert np.array_equal(together.design.clusters, np.arange(200) // 20)
    widths = [found.gain(HEADLINE_ARM, "real", alpha=0.05, wished_gain=0.005) for found in (alone, together)]
    assert widths[1].parts.test_images != widths[0].parts.test_images


def test_worth_is_none_without_arms_of_more_labels():
    assert regime(0.9).labels_worth(level=0.95, per_class=10) is None


def test_images_that_belong_to_no_group_stand_each_by_itself():
    alone, some = regime(0.75), regime(0.75, groups=np.where(np.arange(200) < 8, 7, -1))
    none = regime(0.75, groups=np.full(200, -1))
    assert len(np.unique(some.design.clusters)) == 193
    gains = [found.gain(HEADLINE_ARM, "real", alpha=0.05, wished_gain=0.005) for found in (alone, none)]
    assert (gains[1].low, gains[1].high) == pytest.approx((gains[0].low, gains[0].high))


def test_without_an_interval_the_arm_that_comes_closest_is_named():
    found = RegimeAnswers.of([cell(0, shares(0.8) | {"real": 0.95})], folds=1)
    headline = found.headline(alpha=0.05, wished_gain=0.005)
    assert (headline.gain.verdict, headline.over) == ("unavailable", "real")
    assert headline.gain.mean == min(gain.mean for gain in headline.rivals.values())


def test_replicates_that_decide_come_in_whole_repeats_of_folds():
    labels = np.zeros(20_000, np.int64)
    more = np.array([250, 10, 90, -80, 160, 40, 300, -30])  # images that the headline arm gets right beyond the others
    right = np.arange(20_000) < 10_000 + more[:, None, None]
    predicted = dict.fromkeys(RIVALS, np.repeat(right[:1] * 0 + (np.arange(20_000) < 10_000), 8, axis=0))
    found = RegimeAnswers(
        labels=labels,
        num_classes=2,
        predicted={arm: 1 - values.astype(np.int64) for arm, values in (predicted | {HEADLINE_ARM: right}).items()},
        design=FreshDraws(),
        folds=3,
    )
    needed = found.headline(alpha=0.05, wished_gain=0.005).needed
    assert needed.fewest > 8
    assert (needed.fewest % 3, needed.most % 3) == (0, 0)


def test_recall_of_rare_classes_is_of_each_repeat():
    found = RegimeAnswers.of(folded(0.9), folds=4)
    right = found.predicted["real"] == found.labels
    expected = [repeat[:, found.labels == 1].mean() for repeat in right]
    assert found.means("real", "tail_recall", tail=[1]) == pytest.approx(expected)


def test_macro_f1_is_of_each_repeat_as_its_gain_is():
    found = RegimeAnswers.of(folded(0.7), folds=4)
    means = {arm: np.mean(found.means(arm, "macro_f1")) for arm in (HEADLINE_ARM, "real")}
    gain = found.gain(HEADLINE_ARM, "real", alpha=0.05, wished_gain=0.005, metric="macro_f1")
    assert means[HEADLINE_ARM] - means["real"] == pytest.approx(gain.mean)
    expected = [
        np.mean([f1_score(found.labels, answers, average="macro") for answers in repeat])
        for repeat in found.predicted["real"]
    ]
    assert found.means("real", "macro_f1") == pytest.approx(expected)
