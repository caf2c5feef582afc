import numpy as np
import prdc
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.image.kid import KernelInceptionDistance

from evaluation.config import SamplesConfig
from evaluation.fidelity import (
    LabelledFeatures,
    diversity,
    fidelity_figures,
    frechet_distance,
    kernel_inception_distance,
    manifold_figures,
    measure_fidelity,
)

CONFIG = SamplesConfig()


def normal(count, *, shift=0.0, scale=1.0, seed=0, dim=8):
    return np.random.default_rng(seed).normal(shift, scale, (count, dim)).astype(np.float32)


def figures(real, fake):
    return fidelity_figures(real, fake, config=CONFIG, rng=np.random.default_rng(0))


def test_frechet_distance_is_the_closed_form():
    x, y = normal(300), normal(200, shift=0.5, scale=1.5, seed=1)
    cov_x, cov_y = np.cov(x.T.astype(float)), np.cov(y.T.astype(float))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * sqrtm(cov_x @ cov_y).real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-4)


def test_frechet_distance_of_a_set_to_itself_is_zero():
    assert frechet_distance(normal(100), normal(100)) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_that_of_torchmetrics_where_every_subset_is_the_whole():
    x, y = normal(50), normal(50, shift=0.5, seed=1)

    class Given(torch.nn.Module):
        num_features = 8

        def forward(self, features):
            return features

    library = KernelInceptionDistance(feature=Given(), subsets=2, subset_size=50)
    library.update(torch.from_numpy(x).double(), real=True)
    library.update(torch.from_numpy(y).double(), real=False)
    ours = kernel_inception_distance(x, y, rng=np.random.default_rng(0))
    assert ours.value == pytest.approx(float(library.compute()[0]), rel=1e-5)


def test_standard_error_of_the_kernel_distance_is_its_spread_over_new_images():
    rng = np.random.default_rng(0)
    found = [
        kernel_inception_distance(normal(60, seed=seed), normal(80, shift=0.3, seed=1000 + seed), rng=rng)
        for seed in range(60)
    ]
    spread = np.std([measured.value for measured in found])
    assert np.mean([measured.spread for measured in found]) == pytest.approx(spread, rel=0.3)


def test_floor_and_samples_are_of_equal_size_where_train_is_smaller():
    features = LabelledFeatures(features=normal(200), labels=np.zeros(200, np.int64))
    train = LabelledFeatures(features=normal(50, seed=1), labels=np.zeros(50, np.int64))
    rng = np.random.default_rng(0)
    pair = measure_fidelity(features, train=train, test=features, class_names=("a",), config=CONFIG, rng=rng)[0]
    assert pair.synthetic.num_images == pair.floor.num_images == 50


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_manifold_figures_are_those_of_prdc(neighbours):
    x, y = normal(120), normal(90, shift=0.4, scale=0.8, seed=1)
    assert manifold_figures(x, y, neighbours=neighbours) == pytest.approx(
        prdc.compute_prdc(x, y, nearest_k=neighbours), abs=1e-6
    )


def test_collapse_loses_recall_and_coverage_but_not_precision():
    real = normal(300)
    collapsed = real[:1] + normal(300, scale=0.01, seed=1)
    found = figures(real, collapsed)
    assert found.recall.value < 0.05
    assert found.coverage.value < 0.1
    assert found.diversity.value < 0.05
    assert found.precision.value > 0.9


def test_noise_loses_precision_and_density():
    found = figures(normal(300), normal(300, scale=10, seed=1))
    assert found.precision.value < 0.05
    assert found.density.value < 0.05


def test_same_distribution_is_good_in_everything():
    found = figures(normal(400), normal(400, seed=1))
    assert found.fid.value < 0.2
    assert abs(found.kid.value) < 0.1
    assert min(found.precision.value, found.recall.value, found.coverage.value) > 0.8
    assert found.diversity.value == pytest.approx(1, abs=0.05)


def test_fewer_images_than_features_make_fid_unavailable():
    found = figures(normal(100), normal(8))
    assert found.fid.value is None
    assert found.fid.unavailable == "only 8 images, 9 are needed"
    assert found.kid.value is not None


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_images_give_reasons_only(count):
    found = figures(normal(100), normal(count))
    for name in ("fid", "kid", "precision", "recall", "density", "coverage", "diversity"):
        figure = getattr(found, name)
        assert figure.value is None
        assert "are needed" in figure.unavailable


def test_features_that_are_not_finite_give_reasons_only():
    broken = normal(50)
    broken[3, 3] = np.nan
    found = figures(normal(50), broken)
    assert found.fid.unavailable == found.coverage.unavailable == "the features are not all finite"


def test_constant_features_give_no_nan():
    found = figures(np.ones((20, 4), np.float32), np.ones((20, 4), np.float32))
    assert found.diversity.unavailable == "the real images are all alike"
    assert np.isfinite(found.fid.value)


def test_diversity_is_the_ratio_of_standard_deviations():
    x = normal(200)
    assert diversity(x, 2 * x).value == pytest.approx(2)


def test_floor_takes_as_many_real_images_as_there_are_samples():
    labels = np.arange(90) % 3
    everything = LabelledFeatures(features=normal(90), labels=labels)
    few = LabelledFeatures(features=normal(30, seed=1), labels=labels[:30])
    overall, *classes = measure_fidelity(
        few,
        train=everything,
        test=everything,
        class_names=("a", "b", "c"),
        config=CONFIG,
        rng=np.random.default_rng(0),
    )
    assert (overall.floor.num_images, overall.synthetic.num_images) == (30, 30)
    assert [pair.name for pair in classes] == ["a", "b", "c"]
    assert [pair.floor.num_images for pair in classes] == [10, 10, 10]


def test_empty_class_is_unavailable_with_its_reason():
    labels = np.arange(60) % 2
    real = LabelledFeatures(features=normal(60), labels=labels)
    only_first = LabelledFeatures(features=normal(30), labels=np.zeros(30, np.int64))
    *_, second = measure_fidelity(
        only_first, train=real, test=real, class_names=("a", "b"), config=CONFIG, rng=np.random.default_rng(0)
    )
    assert second.synthetic.kid.unavailable == "only 0 images, 2 are needed"
