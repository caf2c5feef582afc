"""Designs: which one the data get, what each replicate sees, and that nothing crosses a fold."""

from dataclasses import replace

import numpy as np
import pytest

from data.base.errors import UsageError
from data.config import DataConfig
from data.copies import kept_together
from data.design import (
    FreshDraws,
    OneDataSet,
    design_of,
    has_fresh_draws,
    resolve_images_per_class,
    stratified_folds,
)
from data.images import LabelledImages, identities
from data.regimes import regime_of
from data.sources.source import Source
from data.unlabelled import UnlabelledImages, UnlabelledSource


def images(counts, *, seed=0, groups=None):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    return LabelledImages(
        images=rng.integers(0, 256, (len(labels), 1, 8, 8), dtype=np.uint8),
        labels=labels,
        rows=np.arange(len(labels), dtype=np.int64),
        class_names=tuple(f"c{label}" for label in range(len(counts))),
        groups=groups,
    )


def source(counts=(60, 60), *, held_out=False, groups=None):
    train = images(counts, groups=groups)
    test = replace(images((10, 10), seed=1), rows=np.arange(len(train), len(train) + 20))
    return Source(name="made up", train=train, test=test, held_out=held_out)


def of(regime, data, **options):
    return design_of(data, regime_of(regime), DataConfig(**options), seed=0)


@pytest.mark.parametrize(
    ("regime", "counts", "expected"),
    [(6, (60, 60), FreshDraws), (7, (60, 60), OneDataSet), (6, (60, 59), OneDataSet), ("all", (60, 60), OneDataSet)],
)
def test_a_pool_ten_times_as_large_makes_fresh_draws(regime, counts, expected):
    assert isinstance(of(regime, source(counts)), expected)


def test_regimes_are_those_that_the_pool_is_large_enough_for():
    assert resolve_images_per_class(DataConfig(), source((100, 100))) == (10,)
    assert resolve_images_per_class(DataConfig(), source((99, 99))) == ("all",)
    assert resolve_images_per_class(DataConfig(images_per_class=(3,)), source((99, 99))) == (3,)


def test_every_image_is_tested_once_in_each_repeat():
    data = source((23, 31))
    design = of("all", data)
    for repeat in range(2):
        tested = [design.split(repeat * design.folds + fold).test.rows for fold in range(design.folds)]
        assert sorted(np.concatenate(tested)) == list(data.train.rows)


def test_pool_and_test_of_a_replicate_make_the_data_set_and_share_no_image():
    data = source((23, 31))
    for replicate in range(7):
        split = of("all", data).split(replicate)
        assert sorted([*split.pool.rows, *split.test.rows]) == list(data.train.rows)


def test_folds_hold_as_much_of_every_class():
    design = of("all", source((50, 25)), folds=5)
    assert all(list(design.split(fold).test.class_counts()) == [10, 5] for fold in range(5))


def test_repeats_divide_differently_and_the_same_seed_the_same():
    design = of("all", source())
    assert list(design.fold_numbers(0)) != list(design.fold_numbers(1))
    assert list(design.fold_numbers(1)) == list(of("all", source()).fold_numbers(1))


def test_folds_of_a_repeat_are_drawn_once(monkeypatch):
    drawn = []

    def draw(*arguments, **options):
        drawn.append(options["seed"])
        return stratified_folds(*arguments, **options)

    monkeypatch.setattr("data.design.stratified_folds", draw)
    design = of("all", source(), folds=3)
    for replicate in [*range(6), *range(6)]:
        design.split(replicate)
    assert len(drawn) == len(set(drawn)) == 2


def test_groups_never_cross_a_fold():
    groups = np.arange(120, dtype=np.int64) // 4
    design = of("all", source(groups=groups))
    for replicate in range(10):
        split = design.split(replicate)
        assert not set(groups[split.pool.rows]) & set(groups[split.test.rows])


def test_identical_images_never_cross_a_fold_and_are_counted_as_one():
    data = source()
    twice = data.train.images.copy()
    twice[1::2] = twice[::2]
    design = of("all", replace(data, train=replace(data.train, images=twice)))
    for replicate in range(5):
        split = design.split(replicate)
        assert not set(identities(split.pool)) & set(identities(split.test))
        assert len(np.unique(split.test.groups)) == len(split.test) // 2


def test_groups_join_through_identical_images():
    made = images((3, 3), groups=np.array([0, 0, 1, 1, -1, -1]))
    pixels = made.images.copy()
    pixels[4] = pixels[0]  # of no group, the same picture as one of group 0
    pixels[2] = pixels[1]  # joins groups 0 and 1
    joined = kept_together(replace(made, images=pixels))
    assert len(set(joined[:5])) == 1
    assert joined[5] != joined[0]


def test_held_out_images_come_back_into_the_folds_and_a_given_test_split_stays_aside():
    whole = of("all", source(held_out=True))
    assert len(whole.images) == 140
    assert whole.beside is None
    given = of("all", source(held_out=False))
    assert len(given.images) == 120
    assert len(given.beside) == 20
    assert "decides nothing" in given.sentence


def test_validation_images_are_kept_out_of_the_pool_and_the_test_split_is_not_read():
    design = of(5, source((200, 200)), judge_on="validation", validation_images=40)
    assert not set(design.pool.rows) & set(design.test.rows)
    assert list(design.test.class_counts()) == [20, 20]
    assert "stays untouched" in design.sentence


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (source((3, 60)), {"folds": 5}, r"class 'c0' has 3 images, too few for 5 folds; use --set data.folds=3"),
        (source((1, 60)), {}, "class 'c0' has a single one of its images"),
        (source((4, 4), groups=np.array([0, 0, 0, 0, 1, 2, 3, 4])), {}, "class 'c0' has a single one of its groups"),
        (source((60, 60)), {"design": "fresh draws"}, "fresh draws of all images need 600 images of class 'c0'"),
        (source((60, 60)), {"judge_on": "validation"}, "needs a pool for fresh draws"),
    ],
)
def test_data_that_cannot_make_the_design_are_told_what_to_do(data, options, message):
    with pytest.raises(UsageError, match=message):
        of("all", data, **options)


def test_folds_are_as_many_as_the_rarest_class_has_images():
    assert of("all", source((3, 60))).folds == 3


def test_more_images_per_class_than_the_folds_hold_are_refused():
    with pytest.raises(UsageError, match="asked for"):
        of(50, source((60, 60)))


def test_drawn_share_is_told():
    assert of(6, source()).drawn_share == pytest.approx(0.1)
    assert of("all", source()).drawn_share == pytest.approx(0.75)
    assert has_fresh_draws(source(), regime_of(6))


def test_rest_of_a_pool_needs_fresh_draws():
    with pytest.raises(
        UsageError, match=r"data.unlabelled=pool needs fresh draws.* has folds.*data.unlabelled=folder:PATH"
    ):
        of("all", source(), unlabelled="pool")


def test_sentence_says_how_many_images_have_no_labels():
    data = source()
    data = replace(data, test=data.train.take(np.arange(4)))
    sentence = of(6, data, unlabelled="pool", max_unlabelled=30).sentence
    assert sentence.endswith(
        "each has 30 images of the pool's rest too, without labels; 4 copies of test images are not among them"
    )


@pytest.mark.parametrize("regime", [6, "all"])
def test_sentence_names_given_images_without_labels(regime):
    beside = UnlabelledSource(
        name="more", images=UnlabelledImages(images=images((9,)).images, rows=np.arange(9)), copies_of_test=2
    )
    sentence = of(regime, replace(source(), unlabelled=beside), unlabelled="folder:more").sentence
    assert sentence.endswith(
        "each replicate has 9 images of more too, without labels; 2 copies of the data set's own images, 2 of them of "
        "test images, are not among them"
    )
