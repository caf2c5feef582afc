import math

import pytest
import torch
from torch import nn

from gan.losses import LOSSES, gradient_penalty, lost_diversity, reconstruction_error, same_class_distance

# Probabilities D(x) and D(G(z)) and the logits that stand for them.
REAL_PROBABILITY = torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64)
FAKE_PROBABILITY = torch.tensor([0.3, 0.5, 0.8], dtype=torch.float64)
REAL, FAKE = REAL_PROBABILITY.logit(), FAKE_PROBABILITY.logit()


def test_equation_7_1_binary_cross_entropy_of_the_discriminator():
    inputs = [(1, p) for p in REAL_PROBABILITY.tolist()] + [(0, p) for p in FAKE_PROBABILITY.tolist()]
    cross_entropy = -sum(y * math.log(p) + (1 - y) * math.log(1 - p) for y, p in inputs) / len(inputs)
    assert float(LOSSES["minimax"].discriminator(REAL, FAKE).mean()) == pytest.approx(cross_entropy)


def test_equation_7_1_per_sample():
    expected = -(REAL_PROBABILITY.log() + (1 - FAKE_PROBABILITY).log()) / 2
    torch.testing.assert_close(LOSSES["minimax"].discriminator(REAL, FAKE), expected)


def test_equation_7_2_discriminator_maximises_the_value_of_the_game():
    value = REAL_PROBABILITY.log().mean() + (1 - FAKE_PROBABILITY).log().mean()
    torch.testing.assert_close(-2 * LOSSES["minimax"].discriminator(REAL, FAKE).mean(), value)


def test_equation_7_3_generator_minimises_log_of_1_minus_d():
    torch.testing.assert_close(LOSSES["minimax"].generator(REAL, FAKE), (1 - FAKE_PROBABILITY).log())


def test_equation_7_4_the_game_is_zero_sum_in_what_the_generator_can_change():
    fake = FAKE.clone().requires_grad_()
    loss = LOSSES["minimax"]
    (of_generator,) = torch.autograd.grad(loss.generator(REAL, fake).sum(), fake)
    (of_discriminator,) = torch.autograd.grad(2 * loss.discriminator(REAL, fake).sum(), fake)
    torch.testing.assert_close(of_generator, -of_discriminator)


def test_value_of_the_game_at_its_equilibrium_is_minus_log_4():
    undecided = torch.zeros(3)
    value = -2 * LOSSES["minimax"].discriminator(undecided, undecided)
    torch.testing.assert_close(value, torch.full((3,), -math.log(4)))


def test_non_saturating_generator_minimises_minus_log_d():
    torch.testing.assert_close(LOSSES["non_saturating"].generator(REAL, FAKE), -FAKE_PROBABILITY.log())


def test_non_saturating_discriminator_is_minimax():
    expected = LOSSES["minimax"].discriminator(REAL, FAKE)
    assert torch.equal(LOSSES["non_saturating"].discriminator(REAL, FAKE), expected)


def test_minimax_generator_saturates_where_the_non_saturating_one_learns():
    hopeless = torch.tensor([-20.0], requires_grad=True)
    (minimax,) = torch.autograd.grad(LOSSES["minimax"].generator(hopeless, hopeless).sum(), hopeless)
    (non_saturating,) = torch.autograd.grad(LOSSES["non_saturating"].generator(hopeless, hopeless).sum(), hopeless)
    assert abs(float(minimax)) < 1e-8
    assert float(non_saturating) == pytest.approx(-1)


def test_hinge_values():
    real, fake = torch.tensor([2.0, 0.25, -1.0]), torch.tensor([-3.0, 0.5, 0.0])
    torch.testing.assert_close(LOSSES["hinge"].discriminator(real, fake), torch.tensor([0.0, 2.25, 3.0]))
    torch.testing.assert_close(LOSSES["hinge"].generator(real, fake), -fake)


def test_relativistic_values():
    torch.testing.assert_close(LOSSES["relativistic"].discriminator(REAL, FAKE), (1 + (FAKE - REAL).exp()).log())
    torch.testing.assert_close(LOSSES["relativistic"].generator(REAL, FAKE), (1 + (REAL - FAKE).exp()).log())


def test_relativistic_loss_ignores_a_common_shift():
    loss = LOSSES["relativistic"]
    torch.testing.assert_close(loss.generator(REAL + 5, FAKE + 5), loss.generator(REAL, FAKE))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_are_per_sample(name):
    both = LOSSES[name].discriminator(REAL, FAKE), LOSSES[name].generator(REAL, FAKE)
    assert [tuple(loss.shape) for loss in both] == [(3,), (3,)]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_stay_finite_for_extreme_logits(name):
    extreme = torch.tensor([1e4, -1e4])
    both = LOSSES[name].discriminator(extreme, -extreme), LOSSES[name].generator(extreme, -extreme)
    assert all(bool(loss.isfinite().all()) for loss in both)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_only_losses_that_need_them_read_the_real_logits_in_the_generators_cost(name):
    nonsense = torch.full_like(REAL, 7.0)
    same = torch.equal(LOSSES[name].generator(REAL, FAKE), LOSSES[name].generator(nonsense, FAKE))
    assert same != LOSSES[name].needs_real_logits


def test_gradient_penalty_of_a_linear_discriminator_is_its_squared_weight():
    linear = nn.Linear(4, 1)
    images = torch.randn(3, 1, 2, 2, requires_grad=True)
    penalty = gradient_penalty(linear(images.flatten(1)).squeeze(1), images)
    torch.testing.assert_close(penalty, linear.weight.square().sum().expand(3))


def test_gradient_penalty_of_a_quadratic_discriminator_is_per_image():
    images = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 3.0]]]], requires_grad=True)  # D(x) = |x|^2, gradient 2x
    penalty = gradient_penalty(images.square().flatten(1).sum(1), images)
    torch.testing.assert_close(penalty, torch.tensor([20.0, 36.0]))


def test_gradient_penalty_can_be_trained():
    weight = torch.tensor([3.0], requires_grad=True)
    images = torch.ones(2, 1, 1, 1, requires_grad=True)
    gradient_penalty((weight * images).flatten(), images).mean().backward()
    torch.testing.assert_close(weight.grad, torch.tensor([6.0]))


def test_reconstruction_error_adds_up_three_sizes():
    zeros = torch.zeros(3, 1, 8, 8)
    constant, stripes, point = torch.full((1, 8, 8), 0.5), torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)
    stripes[:, ::2], stripes[:, 1::2] = 1, -1  # nothing is left of them at half size
    point[0, 0, 0] = 1  # a quarter at half size, a sixteenth at quarter size
    expected = [3 * 0.25, 1.0, 1 / 64 + 1 / 16 / 16 + 1 / 256 / 4]
    errors = reconstruction_error(torch.stack([constant, stripes, point]), zeros)
    torch.testing.assert_close(errors, torch.tensor(expected))


def test_same_class_distance_compares_within_classes_only():
    # Classes 0 and 1 taken apart: pairs (0, 2) and (2, 4) of class 0 differ by 1 and 3, (1, 3) of class 1 by 10.
    values = torch.tensor([0.0, 100.0, 1.0, 110.0, 4.0])
    labels = torch.tensor([0, 1, 0, 1, 0])
    images = values.view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    assert float(same_class_distance(images, labels)) == pytest.approx((1 + 3 + 10) / 3)


def test_same_class_distance_without_pairs_is_0():
    assert float(same_class_distance(torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 2]))) == 0


def test_no_diversity_is_lost_by_samples_as_different_as_real_images():
    real, labels = torch.rand(12, 1, 4, 4), torch.arange(12) % 3
    assert float(lost_diversity(real, 1 - real, labels)) == pytest.approx(0, abs=1e-10)
    assert float(lost_diversity(real, 2 * real, labels)) == 0


def test_collapsed_samples_have_lost_all_diversity():
    labels = torch.arange(12) % 3
    collapsed = labels.float().view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    assert float(lost_diversity(torch.rand(12, 1, 4, 4), collapsed, labels)) == 1


def test_half_the_diversity_costs_a_quarter():
    real, labels = torch.rand(12, 1, 4, 4), torch.arange(12) % 3
    assert float(lost_diversity(real, real / 2, labels)) == pytest.approx(0.25)
