import numpy as np
import pytest
from scipy import stats

from evaluation.image_values import ImageValues
from evaluation.intervals import CrossValidation, FreshDraws, Unavailable, mean_overlap, shared_by_folds


def draws(by_replicate, images=50):
    """Every image of a replicate has the same difference, so that test images tell nothing apart."""
    values = np.broadcast_to(np.array(by_replicate)[:, None, None], (len(by_replicate), 1, images))
    return ImageValues(values=values.astype(float), unit=0.0)


def noise(shape, seed=0, scale=0.1):
    return np.random.default_rng(seed).normal(0.02, scale, shape)


def folds_of(images, num_folds, repeats, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(np.arange(images) % num_folds) for _ in range(repeats)])


def test_without_errors_of_images_it_is_the_paired_t_interval():
    values = [0.01, 0.02, 0.04]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert FreshDraws().estimate(draws(values)).interval(0.95) == pytest.approx((low, high))


def test_p_value_without_errors_of_images_is_that_of_the_t_test():
    values = [0.01, 0.02, 0.04]
    assert FreshDraws().estimate(draws(values)).p_value() == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_replicates_that_agree_on_every_image_leave_the_error_of_test_images():
    one = np.repeat([1.0, -1.0, 0.0, 0.0], 100)
    few, many = (
        FreshDraws().estimate(ImageValues(values=np.broadcast_to(one, (replicates, 1, 400)), unit=0.0))
        for replicates in (2, 50)
    )
    expected = stats.t.isf(0.025, 399) * stats.sem(one)
    assert few.half_width(0.95) == pytest.approx(expected, rel=0.01)
    assert many.half_width(0.95) == pytest.approx(few.half_width(0.95))


def test_arms_that_answer_alike_on_few_images_prove_nothing():
    estimate = FreshDraws().estimate(ImageValues(values=np.zeros((5, 1, 60))))
    assert estimate.interval(0.95)[1] == pytest.approx(stats.t.isf(0.025, 59) / 62)


def test_parts_add_up_to_the_variance():
    estimate = FreshDraws(overlap=0.1).estimate(ImageValues(values=noise((6, 3, 80))))
    parts = estimate.parts
    assert parts.draws + parts.seeds + parts.test_images + parts.overlap == pytest.approx(estimate.standard_error**2)


def test_parts_are_found():
    # 400 studies' mean parts against the truth that they were drawn with
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        values = rng.normal(0, 0.03, (8, 1, 1)) + rng.normal(0, 0.05, (8, 3, 1)) + rng.normal(0, 0.5, 100)
        estimate = FreshDraws().estimate(ImageValues(values=values, unit=0.0))
        found.append((estimate.draw_variance, estimate.seed_variance, estimate.parts.test_images * 100))
    # draws are never below 0, which lifts their mean a little
    assert np.mean(found, axis=0) == pytest.approx([0.03**2, 0.05**2, 0.5**2], rel=0.15)


def test_with_one_seed_draws_and_seeds_are_one():
    assert FreshDraws().estimate(ImageValues(values=noise((4, 1, 30)))).parts.seeds is None


def test_overlap_adds_what_subsets_share():
    gains = draws(np.random.default_rng(2).normal(0, 0.01, 200))
    gains = ImageValues(values=np.repeat(gains.values, 2, axis=1), unit=0.0)  # seeds agree: all of it is draws
    alone, overlapping = (FreshDraws(overlap=overlap).estimate(gains) for overlap in (0.0, 0.2))
    variance = alone.standard_error**2 * 200
    assert overlapping.standard_error**2 == pytest.approx(variance * (1 / 200 + 0.2 / 0.8))


def test_overlap_counts_draws_not_seeds():
    rng = np.random.default_rng(3)
    values = np.broadcast_to(rng.normal(0, 0.01, (100, 4, 1)), (100, 4, 20))  # seeds alone
    alone, overlapping = (
        FreshDraws(overlap=overlap).estimate(ImageValues(values=values, unit=0.0)) for overlap in (0.0, 0.2)
    )
    assert overlapping.parts.overlap < 0.06 * 0.25 * alone.standard_error**2 * 100


def test_subsets_that_share_nothing_do_not_overlap():
    assert mean_overlap([np.arange(10), np.arange(10, 20)]) == 0


def test_equal_subsets_overlap_wholly():
    assert mean_overlap([np.arange(10)] * 3) == 1


def test_overlap_of_random_subsets_is_their_share_of_the_pool():
    rng = np.random.default_rng(4)
    subsets = [rng.choice(1000, 80, replace=False) for _ in range(60)]
    pairs = [len(np.intersect1d(a, b)) / 80 for i, a in enumerate(subsets) for b in subsets[:i]]
    assert mean_overlap(subsets) == pytest.approx(np.mean(pairs))
    assert mean_overlap(subsets) == pytest.approx(0.08, abs=0.005)


@pytest.mark.parametrize("shape", [(1, 3, 40), (5, 1, 1)])
def test_too_little_has_a_reason(shape):
    estimate = FreshDraws().estimate(ImageValues(values=noise(shape)))
    assert isinstance(estimate, Unavailable)
    assert "needs 2" in estimate.reason


def test_one_patient_alone_has_a_reason():
    estimate = FreshDraws(clusters=np.zeros(40, int)).estimate(ImageValues(values=noise((5, 1, 40))))
    assert "belong together" in estimate.reason


def test_images_of_one_patient_count_once():
    one = noise((4, 2, 30))
    copied = ImageValues(values=np.repeat(one, 3, axis=2), unit=1.0)
    as_patients = FreshDraws(clusters=np.repeat(np.arange(30), 3)).estimate(copied)
    assert as_patients.interval(0.9) == pytest.approx(FreshDraws().estimate(ImageValues(values=one)).interval(0.9))


@pytest.mark.parametrize("level", [0.5, 0.95, 0.9999])
def test_interval_ends_where_the_p_value_says(level):
    estimate = FreshDraws(overlap=0.05).estimate(ImageValues(values=noise((5, 2, 60))))
    low, _ = estimate.interval(level)
    assert estimate.p_value(low) == pytest.approx(1 - level)


def test_order_of_replicates_seeds_and_images_does_not_matter():
    values = noise((5, 2, 60))
    rng = np.random.default_rng(1)
    shuffled = values[rng.permutation(5)][:, ::-1][:, :, rng.permutation(60)]
    intervals = [FreshDraws(overlap=0.1).estimate(ImageValues(values=one)).interval(0.95) for one in (values, shuffled)]
    assert intervals[0] == pytest.approx(intervals[1])


def test_a_new_draw_falls_into_its_interval_in_95_percent_of_studies():
    rng = np.random.default_rng(0)
    inside, chances = [], []
    for _ in range(800):
        values = rng.normal(0, 0.01, (6, 1, 1)) + rng.normal(0, 0.02, (6, 3, 1)) + rng.normal(0, 0.1, (6, 3, 400))
        prediction = FreshDraws().estimate(ImageValues(values=values)).next_draw(0.95)
        inside.append(prediction.low <= rng.normal(0, np.hypot(0.01, 0.02)) <= prediction.high)
        chances.append(prediction.probability_of_gain)
    assert 0.935 < np.mean(inside) < 0.99  # Monte-Carlo error 0.8 points
    assert np.mean(chances) == pytest.approx(0.5, abs=0.05)


def test_a_certain_mean_gain_is_not_certain_for_one_user():
    values = np.broadcast_to(np.random.default_rng(1).normal(0.004, 0.004, (400, 1, 1)), (400, 1, 20))
    estimate = FreshDraws().estimate(ImageValues(values=values, unit=0.0))
    assert estimate.interval(0.95)[0] > 0
    assert estimate.next_draw(0.95).probability_of_gain == pytest.approx(stats.norm.cdf(1), abs=0.02)


def test_as_many_replicates_project_to_the_same_width():
    estimate = FreshDraws().estimate(ImageValues(values=noise((5, 2, 60))))
    assert estimate.projected_half_width(0.95, replicates=5) == pytest.approx(estimate.half_width(0.95))


def test_endless_replicates_leave_the_error_of_test_images():
    values = noise((5, 2, 1)) + noise(300, seed=1, scale=0.3)
    estimate = FreshDraws().estimate(ImageValues(values=values))
    left = estimate.projected_half_width(0.95, replicates=1_000_000)
    assert left == pytest.approx(1.96 * np.sqrt(estimate.parts.test_images), rel=0.02)


def test_cross_validation_of_one_repeat_has_an_interval():
    estimate = CrossValidation(folds=folds_of(100, 5, 1)).estimate(ImageValues(values=noise((1, 1, 100))))
    assert len(estimate.values) == 5
    assert estimate.interval(0.95)[0] < estimate.mean


def test_cross_validation_is_narrower_than_nadeau_and_bengio():
    narrower = []
    for seed in range(50):
        folds = folds_of(200, 5, 4, seed)
        estimate = CrossValidation(folds=folds).estimate(ImageValues(values=noise((4, 1, 200), seed)))
        corrected = np.var(estimate.values, ddof=1) * (1 / 20 + 1 / 4)
        narrower.append(estimate.half_width(0.95) / (stats.t.isf(0.025, 19) * np.sqrt(corrected)))
    assert np.mean(narrower) < 0.75


def test_shared_variance_of_five_folds_is_near_nadeau_and_bengio():
    assert 1 / 4 < shared_by_folds(5) < 1.2 / 4


def test_patients_across_folds_are_refused():
    design = CrossValidation(folds=folds_of(60, 3, 1), clusters=np.arange(60) // 2)
    with pytest.raises(ValueError, match="several folds"):
        design.estimate(ImageValues(values=noise((1, 1, 60))))


def test_cross_validated_images_of_one_patient_count_once():
    one, folds = noise((2, 2, 60)), folds_of(60, 5, 2)
    design = CrossValidation(folds=np.repeat(folds, 3, axis=1), clusters=np.repeat(np.arange(60), 3))
    as_patients = design.estimate(ImageValues(values=np.repeat(one, 3, axis=2)))
    expected = CrossValidation(folds=folds).estimate(ImageValues(values=one))
    assert as_patients.interval(0.9) == pytest.approx(expected.interval(0.9))


def test_classes_that_gain_differently_do_not_make_folds_differ():
    classes = np.arange(200) % 2
    values = np.broadcast_to(np.where(classes == 0, 0.5, -0.5), (4, 1, 200))
    folds = np.stack([np.where(classes == 0, 0, 1)] * 4)  # the extreme: a fold is a class
    told = CrossValidation(folds=folds, classes=classes).estimate(ImageValues(values=values))
    assert told.parts.overlap == pytest.approx(0, abs=1e-12)
    assert CrossValidation(folds=folds).estimate(ImageValues(values=values)).parts.overlap > 0.01


def test_folds_that_differ_are_no_error_of_images():
    folds = folds_of(200, 5, 4)
    effects = np.random.default_rng(0).normal(0, 0.1, (4, 5))
    values = np.take_along_axis(effects, folds, axis=1)[:, None]
    estimate = CrossValidation(folds=folds).estimate(ImageValues(values=values, unit=0.0))
    assert estimate.parts.overlap == pytest.approx(shared_by_folds(5) * effects.var(1, ddof=1).mean())


def test_images_that_the_last_fold_does_not_test_know_how_many_folds_there_are():
    folds, gains = folds_of(200, 5, 4), ImageValues(values=noise((4, 1, 200)))
    some = (folds < 4).all(0)
    design = CrossValidation(folds=folds).of(some)
    told, untold = (
        one.estimate(gains.of(some)).one_draw.added for one in (design, CrossValidation(folds=design.folds))
    )
    assert told / untold == pytest.approx((1 + shared_by_folds(5)) / (1 + shared_by_folds(4)))


def test_images_in_one_fold_have_a_reason():
    estimate = CrossValidation(folds=np.zeros((1, 30), int)).estimate(ImageValues(values=noise((1, 1, 30))))
    assert "2 folds" in estimate.reason


def test_values_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="replicates or repeats"):
        FreshDraws().estimate(ImageValues(values=noise((5, 60))))
