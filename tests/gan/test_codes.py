"""Codes of training images, the latent vectors between them, and how codes are trained."""

import pytest
import torch

from gan.codes import CodeOptimizer, ImageCodes, SamplePlaces

LABELS = torch.tensor([2, 0, 2, 0, 0, 2, 2, 1])  # three of class 0, one of 1, four of 2, none of 3
SPREAD = 0.5


def codes(latent_dim: int = 16) -> ImageCodes:
    made = ImageCodes(LABELS, latent_dim=latent_dim)
    made.vectors.copy_(torch.randn(made.vectors.shape, generator=torch.Generator().manual_seed(1)))
    return made


def noise(count: int, latent_dim: int = 16) -> torch.Tensor:
    return torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(0))


def pairs_used(made: ImageCodes, label: int, count: int = 400) -> list[tuple[int, ...]]:
    """Return for each latent vector the positions of the two codes that it lies between, found by their middle."""
    draws = noise(count)
    latent = made.between(draws, torch.full((count,), label), places=SamplePlaces(reach=0, spread=SPREAD))
    middles = latent * (1 + SPREAD**2) ** 0.5 - SPREAD * draws
    number = len(made.vectors)
    pairs = [(one, other) for one in range(number) for other in range(one, number)]
    vectors = made.vectors
    sums = torch.stack(
        [vectors[one] if one == other else (vectors[one] + vectors[other]) / 2**0.5 for one, other in pairs]
    )
    distances = torch.cdist(middles, sums, compute_mode="donot_use_mm_for_euclid_dist")
    assert float(distances.min(1).values.max()) < 1e-4
    return [pairs[place] for place in distances.argmin(1).tolist()]


@pytest.mark.parametrize("label", [0, 2])
def test_a_latent_vector_lies_between_two_different_codes_of_its_class_all_alike_often(label):
    mine = (label == LABELS).nonzero().squeeze(1).tolist()
    expected = {(one, other) for one in mine for other in mine if one < other}
    used = pairs_used(codes(), label)
    assert set(used) == expected
    assert min(used.count(pair) for pair in expected) > 0.6 * len(used) / len(expected)


def test_a_class_of_one_image_has_its_code_alone():
    assert set(pairs_used(codes(), 1)) == {(7, 7)}


def test_a_class_without_images_has_the_noise_as_it_is():
    draws = noise(5)
    assert torch.equal(codes().between(draws, torch.full((5,), 3), places=SamplePlaces(reach=0, spread=SPREAD)), draws)


def test_a_latent_vector_depends_on_its_own_noise_and_label_only():
    draws, labels = noise(9), torch.arange(9) % 4
    together = codes().between(draws, labels, places=SamplePlaces(reach=0, spread=2.0))
    alone = torch.cat(
        [codes().between(draws[[row]], labels[[row]], places=SamplePlaces(reach=0, spread=2.0)) for row in range(9)]
    )
    assert torch.equal(together, alone)


def test_latent_vectors_are_as_large_as_noise_whatever_the_spread():
    many = ImageCodes(torch.zeros(500, dtype=torch.int64), latent_dim=16)
    many.vectors.copy_(noise(500))
    for spread in (0.0, 1.0, 3.0):
        latent = many.between(
            noise(2000), torch.zeros(2000, dtype=torch.int64), places=SamplePlaces(reach=0, spread=spread)
        )
        assert float(latent.std()) == pytest.approx(1, abs=0.05)


def test_a_reach_of_one_goes_evenly_from_code_to_code_and_smaller_ones_stay_about_the_middle():
    pair = ImageCodes(torch.zeros(2, dtype=torch.int64), latent_dim=2)
    pair.vectors.copy_(torch.eye(2))
    for reach in (0.0, 0.5, 1.0):
        places = SamplePlaces(reach=reach, spread=0)
        latent = pair.between(noise(2000, 2), torch.zeros(2000, dtype=torch.int64), places=places)
        share = latent[:, 0] / latent.sum(1)
        assert float((share - 0.5).abs().max()) == pytest.approx(reach / 2, abs=0.01)
        assert float(share.std()) == pytest.approx(reach / 12**0.5, abs=0.02)  # of an even distribution


def test_one_latent_number_is_enough():
    assert codes(1).between(noise(6, 1), torch.arange(6) % 4, places=SamplePlaces(reach=0, spread=1.0)).isfinite().all()


def test_only_the_codes_of_the_batch_move():
    made = codes()
    before = made.vectors.clone()
    CodeOptimizer(made, learning_rate=0.05).step(made, torch.tensor([5, 0]), noise(2))
    moved = (made.vectors != before).any(1).nonzero().squeeze(1)
    assert moved.tolist() == [0, 5]


def test_a_code_that_comes_twice_is_moved_once_by_the_sum():
    twice, once = codes(), codes()
    gradient = noise(2)
    CodeOptimizer(twice, learning_rate=0.05).step(twice, torch.tensor([3, 3]), gradient)
    CodeOptimizer(once, learning_rate=0.05).step(once, torch.tensor([3]), gradient.sum(0, keepdim=True))
    torch.testing.assert_close(twice.vectors, once.vectors)


def test_codes_go_where_their_gradient_leads_and_stay_where_noise_lies():
    made = codes()
    target = 0.5 * noise(8) + 0.1
    optimizer = CodeOptimizer(made, learning_rate=0.02)
    for _ in range(400):
        optimizer.step(made, torch.arange(8), made.vectors - target)
    assert float((made.vectors - target).abs().max()) < 0.1
    for _ in range(400):
        optimizer.step(made, torch.arange(8), made.vectors - 100 * target)
    assert float(made.vectors.norm(dim=1).max()) <= 16**0.5 + 1e-4


def test_no_gradient_moves_nothing():
    made = codes()
    before = made.vectors.norm(dim=1).clamp(max=16**0.5)
    CodeOptimizer(made, learning_rate=0.05).step(made, torch.arange(8), torch.zeros(8, 16))
    torch.testing.assert_close(made.vectors.norm(dim=1), before)
