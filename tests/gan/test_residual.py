import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from data.base.device import Compute
from data.base.errors import UsageError
from gan.architecture import initialise, new_discriminator, new_generator
from gan.checkpoint import load_generator
from gan.config import GanConfig
from gan.game import RealBatch, draws_of_step, train_step
from gan.networks import Discriminator, Generator
from gan.residual import ResidualBlock, ResidualDiscriminator, ResidualGenerator, widths_by_level
from gan.training import Training, new_state, train

CPU = Compute(device="cpu", precision="float32")
SMALL = GanConfig(architecture="residual", generator_width=4, discriminator_width=4, latent_dim=8, batch_size=12)
SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 64, 64), (3, 96, 96), (3, 36, 36), (1, 4, 64)]


def players(shape: tuple[int, int, int], seed: int = 0) -> tuple[nn.Module, nn.Module]:
    rng = torch.Generator().manual_seed(seed)
    generator = new_generator(SMALL, image_shape=shape, num_classes=3)
    discriminator = new_discriminator(SMALL, image_shape=shape, num_classes=3)
    for network in (generator, discriminator):
        initialise(network, config=SMALL, rng=rng)
    return generator, discriminator


@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_generator_makes_the_discriminator_takes(shape):
    generator, discriminator = players(shape)
    labels = torch.tensor([0, 2])
    images = generator(torch.randn(2, 8), labels)
    assert images.shape == (2, *shape)
    assert images.abs().max() <= 1
    assert discriminator(images, labels).shape == (2,)


@pytest.mark.parametrize(
    ("side", "widths"),
    [(32, [5, 10, 20, 40]), (64, [5, 10, 20, 40, 40]), (96, [5, 10, 20, 40, 40]), (28, [5, 10, 20]), (4, [5])],
)
def test_sides_are_halved_down_to_4_to_7_pixels_while_they_are_even(side, widths):
    assert widths_by_level((3, side, side), 5) == widths


@pytest.mark.parametrize("network", [ResidualGenerator, ResidualDiscriminator])
def test_shapes_that_the_dcgan_refuses_are_refused_alike(network):
    with pytest.raises(UsageError, match="multiples of 4, not 30x32; resize or pad"):
        network(SMALL, image_shape=(3, 30, 32), num_classes=3)
    with pytest.raises(UsageError, match="not 2; convert"):
        network(SMALL, image_shape=(2, 32, 32), num_classes=3)


def test_a_branch_gives_nothing_at_first_and_then_learns():
    # Fixup (Zhang et al. 2019): the network begins as if it had no residual branches, whatever its depth.
    generator, _ = players((3, 32, 32))
    features = torch.randn(2, 4, 8, 8)
    block = generator.blocks[-1]
    assert torch.equal(block(features), features)
    generator(torch.randn(2, 8), torch.tensor([0, 1])).sum().backward()
    assert all(each.second.weight.grad.abs().max() > 0 for each in generator.blocks)


@pytest.mark.parametrize("side", [32, 96])
def test_at_first_pixels_and_logits_are_neither_lost_nor_saturated_at_any_depth(side):
    generator, discriminator = players((3, side, side))
    labels = torch.arange(60) % 3
    with torch.no_grad():
        images = generator(torch.randn(60, 8, generator=torch.Generator().manual_seed(0)), labels)
        logits = discriminator(images, labels)
    assert 0.05 < float(images.std()) < 0.8
    assert 0.05 < float(logits.std()) < 5


def test_no_network_has_normalisation():
    for network in players((3, 32, 32)):
        assert not any(isinstance(module, nn.BatchNorm2d | nn.GroupNorm) for module in network.modules())
        assert any(isinstance(module, ResidualBlock) for module in network.modules())


def test_the_class_changes_image_and_logit():
    generator, discriminator = players((3, 32, 32))
    latent = torch.randn(1, 8)
    first, second = (generator(latent, torch.tensor([label])) for label in (0, 1))
    assert (first - second).abs().max() > 0.01 * first.abs().max()
    assert discriminator(first, torch.tensor([0])) != discriminator(first, torch.tensor([1]))


def test_weights_depend_on_the_given_stream_alone():
    torch.manual_seed(1)
    first = players((3, 32, 32))
    torch.manual_seed(2)
    second = players((3, 32, 32))
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("network", [0, 1])
def test_memory_layout_does_not_change_the_function(network):
    player = players((3, 8, 8))[network]
    inputs, labels = (torch.randn(4, 8), torch.rand(4, 3, 8, 8))[network], torch.tensor([0, 1, 2, 0])
    expected = player(inputs, labels)
    player.to(memory_format=torch.channels_last)
    torch.testing.assert_close(player(inputs, labels), expected)


# Which architecture plays.


@pytest.mark.parametrize(
    ("shape", "architecture", "loss", "penalty"),
    [
        ((1, 28, 28), "dcgan", "non_saturating", 0),
        ((3, 32, 32), "dcgan", "non_saturating", 0),
        ((3, 36, 36), "residual", "relativistic", 0.5),
        ((1, 28, 96), "residual", "relativistic", 0.5),
    ],
)
def test_auto_goes_by_size_and_takes_the_loss_that_fits(shape, architecture, loss, penalty):
    config = GanConfig(architecture="auto").for_subset(100, image_shape=shape)
    assert (config.architecture, config.loss, config.r1_gamma, config.r2_gamma) == (
        architecture, loss, penalty, penalty
    )  # fmt: skip


def test_the_dcgan_plays_unless_something_else_is_asked_for():
    assert GanConfig().for_subset(100, image_shape=(3, 96, 96)).architecture == "dcgan"


def test_residual_networks_take_another_loss_where_penalties_are_not_wanted():
    for asked in ({"r1_gamma": 0}, {"compiled": True}, {"loss": "hinge"}):
        decided = GanConfig(architecture="residual", **asked).for_subset(100)
        assert decided.loss != "relativistic"
        assert decided.r2_gamma == 0
        assert GanConfig.model_validate(decided.model_dump()) == decided


@pytest.mark.parametrize(
    ("architecture", "kinds"),
    [("dcgan", (Generator, Discriminator)), ("residual", (ResidualGenerator, ResidualDiscriminator))],
)
def test_the_asked_networks_train(striped, architecture, kinds):
    config = SMALL.model_copy(update={"architecture": architecture}).for_subset(60)
    state = Training(striped, config=config, seed=0, compute=CPU).state
    assert (type(state.generator), type(state.discriminator)) == kinds


def test_training_decides_by_the_shape_of_its_images(striped, tmp_path):
    wide = dataclasses.replace(striped, images=np.tile(striped.images, (1, 1, 1, 5)))  # 8x40
    config = SMALL.model_copy(update={"architecture": "auto", "steps": 1})
    train(wide, tmp_path, config=config, seed=0, compute=CPU, on_progress=lambda _: None)
    assert isinstance(load_generator(tmp_path / "generator.safetensors")[0].members[0], ResidualGenerator)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_weight_of_both_players_moves(striped, precision):
    config = SMALL.for_subset(60)
    training = Training(striped, config=config, seed=0, compute=Compute(device="cpu", precision=precision))
    players = (training.state.generator, training.state.discriminator)
    before = [{name: value.clone() for name, value in player.named_parameters()} for player in players]
    for _ in range(3):  # the first convolution of a branch moves once the second one is no longer 0
        training.step()
    for player, old in zip(players, before, strict=True):
        still = {name for name, value in player.named_parameters() if torch.equal(value, old[name])}
        assert still <= {"linear.bias"}  # the relativistic loss sees differences of logits alone
    assert training.state.generator.codes is not None


def test_a_generator_without_an_adversary_hears_nothing_of_the_discriminator(striped):
    weights = []
    for seed in (1, 2):
        config = SMALL.for_subset(60).model_copy(update={"adversarial_weight": 0.0})
        state = new_state(striped, config=config, seed=0, compute=CPU)
        initialise(state.discriminator, config=config, rng=torch.Generator().manual_seed(seed))
        images, labels = torch.from_numpy(striped.images[:12]) / 127.5 - 1, torch.from_numpy(striped.labels[:12])
        draws = draws_of_step(config, size=(8, 8), rng=state.rng)
        train_step(state, RealBatch(images, labels, torch.arange(12)), draws, config=config, compute=CPU)
        weights.append(state.generator.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
