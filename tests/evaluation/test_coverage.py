"""The intervals' promise on simulated studies with correlated replicates, at the sizes measured on MNIST.

Where effects are normal the mean is independent of the estimated variances, so that a study covers the truth with the
probability 2 F(half width / true standard error) - 1, F the normal distribution function. Its mean over studies is the
coverage; the Monte-Carlo error of that is below 0.4 points at every size here, a tenth of what counting hits has.
"""

import itertools

import numpy as np
import pytest
from scipy.special import ndtr

from benchmarks.learners import CLASSIFIERS, Problem, cross_validated, true_gain
from benchmarks.simulated import SHARED_IN_SUBSET, SimulatedAnswers, SimulatedDataSet, SimulatedDraws
from evaluation.intervals import CrossValidation, FreshDraws
from evaluation.statistics import mean_interval, spread
from evaluation.stopping import look_at, looks
from evaluation.verdicts import judge, regime_alpha

MONTE_CARLO = 0.004
STUDIES = {3: 1500, 5: 1000, 20: 300, 100: 80}
NEVER_WORTH = 1e-9  # a wished gain so small that no interval fits into it


def coverage(estimates, truth, level=0.95):
    half_widths = np.array([estimate.half_width(level) for estimate in estimates])
    return float(np.mean(2 * ndtr(half_widths / np.sqrt(truth.variance_of_mean)) - 1))


def fresh_draws(truth, studies, seed=0):
    rng = np.random.default_rng(seed)
    return [FreshDraws(overlap=truth.overlap).estimate(truth.gains(rng)) for _ in range(studies)]


def cross_validations(truth, studies, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(studies):
        gains, folds = truth.study(rng)
        found.append(CrossValidation(folds=folds).estimate(gains))
    return found


def old_misses(families, truth=0.0, shared=0.0):
    """How often the paired t interval of the replicates misses."""
    intervals = [mean_interval(spread(family), confidence=0.95, shared=shared) for family in families]
    return np.mean([not low <= truth <= high for low, high in intervals])


@pytest.mark.parametrize("replicates", [3, 5, 20, 100])
@pytest.mark.parametrize(("overlap", "seeds"), [(0.0, 1), (0.08, 1), (0.08, 2)])
def test_intervals_of_fresh_draws_cover(overlap, seeds, replicates):
    truth = SimulatedDraws(replicates=replicates, seeds=seeds, images=10_000, overlap=overlap)
    found = coverage(fresh_draws(truth, STUDIES[replicates]), truth)
    assert 0.95 - MONTE_CARLO < found < 0.97 + MONTE_CARLO


# A pool of twice the subset (500 images) or no more than it (10,000 and 200) is no fresh draw any more: it is split
# into folds. Few of them cannot tell the training sets' part from the test images', and the interval is wide for that.
@pytest.mark.parametrize(("num_folds", "repeats"), [(3, 1), (5, 1), (5, 4), (5, 20)])
@pytest.mark.parametrize("images", [200, 500, 2000, 10_000])
def test_intervals_of_one_data_set_cover(images, num_folds, repeats):
    truth = SimulatedDataSet(images=images, num_folds=num_folds, repeats=repeats)
    found = coverage(cross_validations(truth, STUDIES[num_folds * repeats]), truth)
    highest = {1: 0.99, 4: 0.975, 20: 0.97}[repeats]
    assert 0.95 - MONTE_CARLO < found < highest + MONTE_CARLO


@pytest.mark.parametrize("images", [200, 2000])
def test_intervals_of_one_data_set_cover_with_two_seeds(images):
    truth = SimulatedDataSet(images=images, num_folds=5, repeats=4, seeds=2)
    assert 0.95 - MONTE_CARLO < coverage(cross_validations(truth, 300), truth) < 0.975


@pytest.mark.parametrize("level", [0.9, 0.99, 0.998])
def test_intervals_cover_at_the_levels_of_many_regimes_and_looks(level):
    draws = SimulatedDraws(replicates=5, seeds=2, images=10_000, overlap=0.08)
    folds = SimulatedDataSet(images=2000, num_folds=5, repeats=2)
    assert coverage(fresh_draws(draws, 1000), draws, level) > level - 0.004
    assert coverage(cross_validations(folds, 400), folds, level) > level - 0.006


@pytest.mark.parametrize(
    "truth",
    [
        SimulatedDraws(replicates=5, seeds=2, images=10_000, overlap=0.08),
        SimulatedDataSet(images=200, num_folds=5, repeats=4, seeds=2),
    ],
)
def test_simulated_means_have_the_variance_that_they_are_said_to(truth):
    found = fresh_draws(truth, 2000) if isinstance(truth, SimulatedDraws) else cross_validations(truth, 1000)
    assert np.var([estimate.mean for estimate in found]) == pytest.approx(truth.variance_of_mean, rel=0.15)


@pytest.mark.parametrize(("replicates", "most"), [(5, 0.98), (20, 0.97)])
@pytest.mark.parametrize("images", [540, 200])
def test_intervals_of_right_and_wrong_answers_cover(images, replicates, most):
    # counted, for differences of 1, 0 and -1; Monte-Carlo error 0.7 points
    rng = np.random.default_rng(0)
    truth = SimulatedAnswers(replicates=replicates, images=images)
    found = [FreshDraws().estimate(truth.gains(rng)) for _ in range(1000)]
    covered = np.mean([estimate.interval(0.95)[0] <= 0 <= estimate.interval(0.95)[1] for estimate in found])
    assert 0.94 < covered < most + 0.01


def all_images(images):
    """Every replicate draws the whole pool; none has errors of its own beyond seeds."""
    return SimulatedDraws(replicates=20, seeds=1, images=images, overlap=1.0, image_variance=SHARED_IN_SUBSET)


@pytest.mark.parametrize(
    ("truth", "measured"),
    [
        (SimulatedDraws(replicates=100, seeds=1, images=10_000, overlap=0.08), 0.27),
        (all_images(10_000), 0.47),
        (all_images(200), 0.62),
    ],
)
def test_paired_t_of_replicates_breaks_the_promise(truth, measured):
    rng = np.random.default_rng(0)
    studies = [truth.gains(rng).values.mean((1, 2)).tolist() for _ in range(80)]
    assert old_misses(studies) == pytest.approx(measured, abs=0.12)  # Monte-Carlo error 0.05


def test_paired_t_of_folds_breaks_the_promise():
    """Which is why `augment compare` and schedules, which have the folds' means alone, widen it."""
    truth = SimulatedDataSet(images=500, num_folds=5, repeats=4)
    folds = [estimate.values for estimate in cross_validations(truth, 100)]
    assert old_misses(folds) > 0.1
    assert old_misses(folds, shared=1 / 4) <= 0.05


def test_four_regimes_are_falsely_judged_in_at_most_5_percent_of_studies():
    rng = np.random.default_rng(0)
    truth = SimulatedDraws(replicates=5, seeds=2, images=500)
    false = 0
    for _ in range(800):
        regimes = [[FreshDraws().estimate(gains)] for gains in truth.regimes(rng, 4)]
        alpha = regime_alpha(0.05, num_regimes=len(regimes))
        judgements = [judge(estimates, alpha=alpha, wished_gain=NEVER_WORTH) for estimates in regimes]
        false += any(judgement.verdict in ("helps", "hurts") for judgement in judgements)
    assert false / 800 < 0.05 + 0.015  # Monte-Carlo error 0.8 points


def test_arms_that_all_but_one_are_worse_make_no_false_verdicts_in_more_than_5_percent_of_studies():
    # no gain over the best arm, two points over the others: Monte-Carlo error 0.8 points
    rng = np.random.default_rng(1)
    truth = SimulatedDraws(replicates=5, seeds=1, images=500)
    verdicts = []
    for _ in range(800):
        best, *others = truth.regimes(rng, 3)
        others = [type(best)(values=gains.values + 0.02, unit=gains.unit) for gains in others]
        estimates = [FreshDraws().estimate(gains) for gains in (*others, best)]
        verdicts.append(judge(estimates, alpha=0.05, wished_gain=NEVER_WORTH).verdict)
    assert verdicts.count("helps") / 800 < 0.025 + 0.015
    assert verdicts.count("hurts") / 800 < 0.025 + 0.015


def until_decided(truth, rng, alpha_of, most):
    """Judge one long study at every look; return the first verdict."""
    gains = truth.gains(rng)
    for replicates in itertools.takewhile(lambda look: look <= most, looks()):
        some = type(gains)(values=gains.values[:replicates], unit=gains.unit)
        judgement = judge([FreshDraws().estimate(some)], alpha=alpha_of(replicates), wished_gain=NEVER_WORTH)
        if judgement.decided:
            return judgement.verdict
    return "undecided"


def test_studies_that_go_on_until_decided_are_wrong_in_at_most_5_percent():
    # a true gain of 0, and an error of test images that all looks share
    truth = SimulatedDraws(replicates=48, seeds=1, images=540)

    taken = []
    for replicates in itertools.takewhile(lambda look: look <= 48, looks()):
        taken.append(look_at(replicates, earlier=taken, final=replicates == 48))
    shares = {look.replicates: look.share for look in taken}
    honest = [
        until_decided(truth, np.random.default_rng(seed), lambda look: 0.05 * shares[look], 48) for seed in range(300)
    ]
    naive = [until_decided(truth, np.random.default_rng(seed), lambda _: 0.05, 48) for seed in range(300)]
    assert 300 - honest.count("undecided") < 0.05 * 300 + 6
    assert 300 - naive.count("undecided") > 0.1 * 300  # so looking without shares breaks the promise


@pytest.mark.parametrize("classifier", ["ridge", "nearest neighbour"])
def test_cross_validation_of_a_real_classifier_covers(classifier):
    # outside of the linear model; counted, Monte-Carlo error 1.5 points
    rng = np.random.default_rng(0)
    problem, classify = Problem(), CLASSIFIERS[classifier]
    truth = true_gain(rng, classify, problem=problem, number=160, data_sets=500)
    covered = []
    for _ in range(120):
        data = problem.sample(rng, 200)
        gains, folds = cross_validated(rng, classify, data, num_folds=5, repeats=2)
        low, high = CrossValidation(folds=folds, classes=data[1]).estimate(gains).interval(0.95)
        covered.append(low <= truth <= high)
    assert np.mean(covered) > 0.93
