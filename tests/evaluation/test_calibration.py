import math

import numpy as np
import pytest

from evaluation.calibration import calibration
from evaluation.predictions import Predictions


def measured(probabilities, labels):
    probabilities = np.array(probabilities, np.float32)
    return calibration(Predictions(rows=np.arange(len(labels)), labels=np.array(labels), probabilities=probabilities))


def test_all_three_are_analytic():
    # confidence 0.8 in both, one right and one wrong
    found = measured([[0.8, 0.2], [0.8, 0.2]], [0, 1])
    assert found.ece == pytest.approx(0.3, abs=1e-6)
    assert found.negative_log_likelihood == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2, rel=1e-5)
    assert found.brier == pytest.approx((2 * 0.2**2 + 2 * 0.8**2) / 2, rel=1e-5)


def test_sure_and_right_is_perfect():
    found = measured(np.eye(3), [0, 1, 2])
    assert (found.ece, found.negative_log_likelihood, found.brier) == pytest.approx((0, 0, 0))


def test_sure_and_wrong_costs_no_endless_likelihood():
    found = measured([[1.0, 0.0]], [1])
    assert found.negative_log_likelihood == pytest.approx(15.9, abs=0.1)
    assert (found.ece, found.brier) == (1, 2)


def test_probabilities_that_are_true_are_calibrated_and_sharpened_ones_are_not():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 20_000)
    labels = np.array([rng.choice(4, p=one) for one in probabilities])
    sharpened = probabilities**3 / (probabilities**3).sum(1, keepdims=True)
    honest, boastful = measured(probabilities, labels), measured(sharpened, labels)
    assert honest.ece < 0.015
    assert boastful.ece > 0.1
    assert boastful.negative_log_likelihood > honest.negative_log_likelihood
    assert boastful.brier > honest.brier


def test_a_class_without_test_images_is_no_obstacle():
    assert measured([[0.5, 0.25, 0.25]] * 3, [0, 0, 0]).negative_log_likelihood == pytest.approx(math.log(2))
