import pytest
import torch

from gan.closeness import kernel_distance


def images(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) - 0.5 + shift


def test_same_distribution_is_near_0():
    assert abs(kernel_distance(images(400, 1), images(400, 2))) < 2e-3


def test_estimate_is_unbiased():
    # Small sets of one distribution: a biased estimate would lie above 0 on average.
    distances = [kernel_distance(images(8, 2 * seed), images(8, 2 * seed + 1)) for seed in range(100)]
    mean = sum(distances) / len(distances)
    deviation = (sum((d - mean) ** 2 for d in distances) / len(distances)) ** 0.5
    assert abs(mean) < 4 * deviation / len(distances) ** 0.5


def test_grows_with_the_shift():
    distances = [kernel_distance(images(200, 1), images(200, 2, shift)) for shift in (0.0, 0.2, 0.4, 0.8)]
    assert distances == sorted(distances)
    assert distances[-1] > 0.1


def test_constant_images_have_the_kernels_value():
    # k(x, y) = (x.y / d + 1)^3 with constants a and b: k(a, a) + k(b, b) - 2 k(a, b)
    a, b = 0.5, -1.0
    first, second = torch.full((3, 1, 4, 4), a), torch.full((5, 1, 4, 4), b)
    expected = (a * a + 1) ** 3 + (b * b + 1) ** 3 - 2 * (a * b + 1) ** 3
    assert kernel_distance(first, second) == pytest.approx(expected, rel=1e-5)


def test_is_symmetric():
    forth, back = kernel_distance(images(50, 1), images(70, 2, 0.3)), kernel_distance(images(70, 2, 0.3), images(50, 1))
    assert forth == pytest.approx(back, abs=1e-6)


def test_collapse_to_one_image_is_far_from_real():
    real = images(200, 1)
    collapsed = real[:1].expand(200, -1, -1, -1)
    assert kernel_distance(real, collapsed) > 10 * abs(kernel_distance(real, images(200, 2)))
