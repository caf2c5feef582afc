import numpy as np
import pytest

from data.base.errors import UsageError
from data.base.randomness import numpy_stream
from data.regimes import BalancedRegime, LongTailedRegime, check_regime, draw_subset, regime_of


def rng(name="a"):
    return numpy_stream(0, name)


def test_balanced_draws_the_same_number_of_every_class(striped):
    assert draw_subset(striped, BalancedRegime(5), rng=rng()).class_counts().tolist() == [5, 5, 5]


def test_rows_name_the_images_of_the_source(striped):
    subset = draw_subset(striped, BalancedRegime(5), rng=rng())
    assert np.array_equal(subset.images, striped.images[subset.rows])
    assert (np.diff(subset.rows) > 0).all()


def test_the_same_stream_draws_the_same_images(striped):
    first, second = (draw_subset(striped, BalancedRegime(5), rng=rng()) for _ in range(2))
    assert first.digest() == second.digest()


def test_another_stream_draws_others(striped):
    first, second = (draw_subset(striped, BalancedRegime(5), rng=rng(name)) for name in "ab")
    assert first.digest() != second.digest()


def test_all_takes_the_whole_train_split(striped):
    assert draw_subset(striped, BalancedRegime("all"), rng=rng()) is striped


def test_too_many_images_are_refused_with_what_there_is(striped):
    with pytest.raises(UsageError, match=r"21 images of class 'rows'.*only 20"):
        check_regime(striped, BalancedRegime(21))


def test_long_tail_falls_exponentially_from_n_max_by_the_ratio(striped):
    assert LongTailedRegime(18, 9.0).wanted(striped).tolist() == [18, 6, 2]
    assert draw_subset(striped, LongTailedRegime(18, 9.0), rng=rng()).class_counts().tolist() == [18, 6, 2]


def test_long_tail_keeps_one_image_of_the_last_class(striped):
    assert LongTailedRegime(10, 1000.0).wanted(striped).min() == 1


def test_the_most_frequent_class_can_be_the_head(striped):
    train = striped.take(np.flatnonzero((striped.labels != 0) | (striped.rows < 30)))  # 10, 20 and 20 images
    assert LongTailedRegime(18, 9.0, "frequency").wanted(train).tolist() == [2, 18, 6]
    assert LongTailedRegime(18, 9.0).wanted(train).tolist() == [18, 6, 2]


def test_equally_frequent_classes_keep_the_order_of_their_labels(striped):
    by_frequency, by_label = LongTailedRegime(18, 9.0, "frequency"), LongTailedRegime(18, 9.0, "label")
    assert by_frequency.wanted(striped).tolist() == by_label.wanted(striped).tolist()


def test_a_configured_order_reaches_the_regime():
    assert regime_of("long-tailed:50:10", order="frequency") == LongTailedRegime(50, 10.0, "frequency")
    assert regime_of(10, order="frequency") == BalancedRegime(10)


def test_a_ratio_of_one_is_balanced(striped):
    assert LongTailedRegime(7, 1.0).wanted(striped).tolist() == [7, 7, 7]


def test_long_tail_is_refused_where_a_class_is_too_small(striped):
    with pytest.raises(UsageError, match="long-tailed, 50 to 5"):
        check_regime(striped, LongTailedRegime(50, 10.0))


@pytest.mark.parametrize(
    ("value", "regime", "name"),
    [
        (10, BalancedRegime(10), "balanced-10"),
        ("all", BalancedRegime("all"), "balanced-all"),
        ("long-tailed:500:100", LongTailedRegime(500, 100.0), "long-tailed-500-100"),
        ("long-tailed:500:2.5", LongTailedRegime(500, 2.5), "long-tailed-500-2.5"),
    ],
)
def test_configured_values_name_regimes(value, regime, name):
    assert regime_of(value) == regime
    assert regime.name == name


def test_titles_are_for_people():
    titles = [regime_of(value).title for value in (1000, "all", "long-tailed:500:100")]
    assert titles == ["1,000 images per class", "all images", "long-tailed, 500 to 5 per class"]
