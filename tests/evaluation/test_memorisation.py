import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

import evaluation.memorisation as memorisation
from evaluation.memorisation import (
    copying_test,
    duplicate_shares,
    near_share,
    nearest,
    pixel_vectors,
    suspicious_pairs,
    usual_distances,
)


def vectors(count, seed=0):
    return np.random.default_rng(seed).random((count, 20), np.float32)


def test_nearest_is_that_of_scipy():
    x, y = vectors(40), vectors(70, seed=1)
    indices, distances = nearest(x, y)
    expected = cdist(x, y)
    np.testing.assert_array_equal(indices, expected.argmin(1))
    np.testing.assert_allclose(distances, expected.min(1), rtol=1e-5)


def test_nearest_does_not_depend_on_the_chunk(monkeypatch):
    x, y = vectors(40), vectors(70, seed=1)
    whole = nearest(x, y)
    monkeypatch.setattr(memorisation, "CHUNK_ELEMENTS", 210)
    np.testing.assert_array_equal(nearest(x, y)[0], whole[0])
    np.testing.assert_allclose(nearest(x, y)[1], whole[1])


def test_exact_copy_is_at_distance_zero():
    x = vectors(30)
    indices, distances = nearest(x[7:8], x)
    assert (indices.tolist(), distances.tolist()) == ([7], [0.0])


def test_own_row_does_not_count(monkeypatch):
    monkeypatch.setattr(memorisation, "CHUNK_ELEMENTS", 90)
    x = vectors(30)
    expected = cdist(x, x) + np.diag(np.full(30, np.inf))
    np.testing.assert_allclose(nearest(x, x, excluding_self=True)[1], expected.min(1), rtol=1e-5)


def test_copying_z_is_the_normal_approximation_of_mann_whitney():
    rng = np.random.default_rng(0)
    mine, theirs = rng.random(50), rng.random(60) + 0.1
    zeros = np.zeros(50, np.int64)
    result = copying_test(mine, zeros, theirs, np.zeros(60, np.int64))
    scipy = stats.mannwhitneyu(mine, theirs, alternative="less", method="asymptotic", use_continuity=False)
    assert result.p_value == pytest.approx(scipy.pvalue)
    assert result.nearer_probability == pytest.approx((mine[:, None] < theirs[None]).mean())


def test_copying_z_is_standard_normal_without_copying():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 3
    scores = [copying_test(rng.random(60), labels, rng.random(60), labels).z for _ in range(400)]
    assert np.mean(scores) == pytest.approx(0, abs=0.15)
    assert np.std(scores) == pytest.approx(1, abs=0.1)


def test_nearer_samples_have_a_z_far_below_zero():
    labels = np.zeros(100, np.int64)
    result = copying_test(np.linspace(0, 0.1, 100), labels, np.linspace(1, 2, 100), labels)
    assert result.z < -10
    assert result.nearer_probability == 1.0


def test_copying_compares_within_classes_only():
    near, far = np.full(20, 0.1), np.full(20, 5.0)
    jitter = np.random.default_rng(2).random(20) * 1e-3
    mine = np.concatenate([near + jitter, far + jitter])
    theirs = np.concatenate([near + jitter, far + jitter])
    labels = np.repeat([0, 1], 20)
    assert copying_test(mine, labels, theirs, labels).z == pytest.approx(0, abs=1e-9)


def test_copying_without_common_classes_is_unavailable():
    result = copying_test(np.ones(3), np.zeros(3, np.int64), np.ones(3), np.ones(3, np.int64))
    assert result.z is None
    assert "no class" in result.unavailable


def test_usual_distance_of_an_empty_class_is_that_of_all():
    usual = usual_distances(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 2]), num_classes=3)
    assert usual.tolist() == [2.0, 3.0, 5.0]


def test_near_share_counts_below_the_ratio():
    share = near_share(np.array([0.0, 0.3, 0.6, 2.0]), np.zeros(4, np.int64), usual=np.array([1.0]), ratio=0.5)
    assert share.value == 0.5


def test_near_share_of_nothing_has_a_reason():
    assert near_share(np.zeros(0), np.zeros(0, np.int64), usual=np.ones(1), ratio=0.5).value is None


def test_repeated_samples_are_duplicates_and_real_ones_are_not(striped):
    repeated = striped.take(np.repeat(np.arange(5), 6))
    ours, real = duplicate_shares(repeated, striped, ratio=0.4, rng=np.random.default_rng(0))
    assert (ours.value, real.value) == (1.0, 0.0)


def test_duplicates_among_one_image_are_unavailable(striped):
    ours, _ = duplicate_shares(striped.take(np.arange(1)), striped, ratio=0.4, rng=np.random.default_rng(0))
    assert ours.unavailable == "only 1 images, 2 are needed"


def test_most_suspicious_pair_comes_first_with_its_row(striped):
    subset, samples = striped.take(np.arange(30)), striped.take(np.arange(20, 40))
    neighbours, distances = nearest(pixel_vectors(samples.images), pixel_vectors(subset.images))
    pairs = suspicious_pairs(distances, neighbours, samples, subset=subset, usual=np.ones(3), count=12)
    assert [pair.sample for pair in pairs[:10]] == list(range(20, 30))
    assert [pair.row for pair in pairs[:10]] == list(range(20, 30))
    assert pairs[9].ratio == 0 < pairs[10].ratio
