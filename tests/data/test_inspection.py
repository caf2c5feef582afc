import dataclasses

import numpy as np

from data.inspection import example_grid, inspect_source
from data.regimes import BalancedRegime, LongTailedRegime
from data.sources.source import Source


def source(striped, train, test):
    return Source(name="striped", train=striped.take(np.array(train)), test=striped.take(np.array(test)))


def test_counts(striped):
    facts = inspect_source(source(striped, range(30), range(30, 36)))
    assert facts.train_counts == (10, 10, 10)
    assert facts.test_counts == (2, 2, 2)


def test_duplicates_within_and_across(striped):
    facts = inspect_source(source(striped, [0, 1, 2, 0, 0], [3, 3, 1]))
    assert (facts.duplicates_in_train, facts.duplicates_in_test, facts.duplicates_across) == (2, 1, 1)


def test_none(striped):
    facts = inspect_source(source(striped, range(30), range(30, 60)))
    assert facts.duplicates_in_train == facts.duplicates_in_test == facts.duplicates_across == 0
    assert facts.contradictions == 0


def test_one_image_with_two_labels(striped):
    relabelled = dataclasses.replace(striped, labels=(striped.labels + 1) % 3)
    facts = inspect_source(Source(name="x", train=striped.take(np.arange(9)), test=relabelled.take(np.arange(2))))
    assert facts.contradictions == 2


def test_near_copies_groups_values_and_blankness(striped):
    facts = inspect_source(source(striped, range(30), range(30, 60)))
    assert facts.near_copies.looked_at == 30
    assert facts.groups is None
    assert facts.blankness == ""
    assert facts.values == (int(striped.images.min()), int(striped.images.max()))


def test_groups_of_both_splits(striped):
    grouped = dataclasses.replace(striped, groups=np.where(striped.rows < 10, -1, striped.rows // 10))
    assert inspect_source(source(grouped, range(0, 35), range(35, 60))).groups == (3, 3, 1)


def test_regimes_that_the_train_split_fills(striped):
    facts = inspect_source(source(striped, range(45), range(45, 60)))
    assert [regime for _, regime in facts.regimes] == [BalancedRegime(10), BalancedRegime("all")]
    assert facts.largest_balanced == 15


def test_long_tails_are_tried(striped):
    train = striped.take(np.tile(np.arange(60), 3))
    facts = inspect_source(Source(name="x", train=train, test=striped))
    assert ("long-tailed:50:10", LongTailedRegime(50, 10.0)) in facts.regimes


def test_the_grid_has_a_row_for_each_class(striped):
    picture = example_grid(striped, columns=4, max_classes=10, max_side=16)
    assert picture.shape == (26, 35, 3)
    assert np.array_equal(picture[9:17, 9:17, 0], striped.images[4, 0])


def test_large_images_are_shrunk_and_classes_cut_off(striped):
    assert example_grid(striped, columns=2, max_classes=2, max_side=4).shape == (9, 9, 3)
