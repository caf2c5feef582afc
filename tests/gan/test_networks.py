import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from data.base.errors import UsageError
from gan.config import GanConfig
from gan.networks import (
    Discriminator,
    FoldedConv2d,
    Generator,
    GeneratorEnsemble,
    initialise_dcgan,
    transposed_by_product,
)

SMALL = GanConfig(generator_width=4, discriminator_width=4, latent_dim=8)
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 8, 64), (3, 32, 8)]


def players(config: GanConfig, shape: tuple[int, int, int], seed: int = 0) -> tuple[Generator, Discriminator]:
    rng = torch.Generator().manual_seed(seed)
    generator = Generator(config, image_shape=shape, num_classes=3)
    discriminator = Discriminator(config, image_shape=shape, num_classes=3)
    initialise_dcgan(generator, config=config, rng=rng)
    initialise_dcgan(discriminator, config=config, rng=rng)
    return generator, discriminator


@pytest.mark.parametrize("shape", SHAPES)
def test_generator_makes_images_of_the_asked_shape(shape):
    generator, _ = players(SMALL, shape)
    assert generator(torch.randn(5, 8), torch.tensor([0, 1, 2, 0, 1])).shape == (5, *shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
def test_discriminator_gives_one_logit_per_image(shape, norm):
    _, discriminator = players(SMALL.model_copy(update={"discriminator_norm": norm}), shape)
    assert discriminator(torch.rand(5, *shape), torch.tensor([0, 1, 2, 0, 1])).shape == (5,)


def test_generated_pixels_lie_in_the_range_of_tanh():
    generator, _ = players(SMALL, (1, 8, 8))
    images = generator(100 * torch.randn(64, 8), torch.arange(64) % 3)
    assert images.abs().max() <= 1


@pytest.mark.parametrize("shape", [(1, 10, 8), (1, 8, 10), (1, 27, 27), (1, 0, 8), (1, 2, 2)])
@pytest.mark.parametrize("network", [Generator, Discriminator])
def test_sides_that_are_no_multiples_of_4_are_refused_with_what_to_do(network, shape):
    with pytest.raises(UsageError, match=f"multiples of 4, not {shape[1]}x{shape[2]}; resize or pad"):
        network(SMALL, image_shape=shape, num_classes=3)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_channels_other_than_grayscale_and_rgb_are_refused(channels):
    with pytest.raises(UsageError, match=f"not {channels}; convert"):
        Generator(SMALL, image_shape=(channels, 8, 8), num_classes=3)


def test_the_class_changes_the_image():
    generator = players(SMALL, (1, 8, 8))[0].eval()
    latent = torch.randn(1, 8)
    first, second = generator(latent, torch.tensor([0])), generator(latent, torch.tensor([1]))
    assert (first - second).abs().max() > 0.01 * first.abs().max()


def test_the_class_changes_the_logit():
    discriminator = players(SMALL, (1, 8, 8))[1].eval()
    image = torch.rand(1, 1, 8, 8)
    assert discriminator(image, torch.tensor([0])) != discriminator(image, torch.tensor([1]))


def test_logit_is_linear_term_plus_projection():
    # Miyato & Koyama 2018, equation 3: psi(phi(x)) + y^T V phi(x)
    discriminator = players(SMALL, (1, 8, 8))[1].eval()
    images, labels = torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 2, 2, 1, 0])
    features = discriminator.features(images).permute(0, 2, 3, 1).flatten(1)
    expected = discriminator.linear(features).squeeze(1) + (features * discriminator.class_projection(labels)).sum(1)
    torch.testing.assert_close(discriminator(images, labels), expected)


def gradients(outputs, inputs, weight):
    """Of a weighted sum that treats no two outputs alike."""
    return torch.autograd.grad(
        (outputs * torch.linspace(0, 1, outputs.numel()).view_as(outputs)).sum(), (inputs, weight)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_transposed_convolution_as_a_product_is_the_transposed_convolution(channels):
    layer = nn.ConvTranspose2d(5, channels, 4, stride=2, padding=1)
    features = torch.randn(2, 5, 3, 4, requires_grad=True)
    ours, theirs = transposed_by_product(features, layer), layer(features)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradients(ours, features, layer.weight), gradients(theirs, features, layer.weight))


@pytest.mark.parametrize("channels", [1, 3])
def test_convolution_of_folded_pixels_is_the_convolution(channels):
    layer = FoldedConv2d(channels, 5)
    images = torch.randn(2, channels, 6, 8, requires_grad=True)
    ours, theirs = layer(images), nn.Conv2d.forward(layer, images)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradients(ours, images, layer.weight), gradients(theirs, images, layer.weight))


@pytest.mark.parametrize("network", [0, 1])
def test_memory_layout_does_not_change_the_function(network):
    player = players(SMALL, (3, 8, 8))[network].eval()
    inputs = (torch.randn(4, 8), torch.rand(4, 3, 8, 8))[network]
    labels = torch.tensor([0, 1, 2, 0])
    expected = player(inputs, labels)
    player.to(memory_format=torch.channels_last)
    if network == 1:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(player(inputs, labels), expected)


@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
@pytest.mark.parametrize("initialisation", ["dcgan", "default"])
def test_weights_depend_on_the_given_stream_alone(norm, initialisation):
    config = SMALL.model_copy(update={"discriminator_norm": norm, "initialisation": initialisation})
    torch.manual_seed(1)
    first = players(config, (1, 8, 8))[1].state_dict()
    torch.manual_seed(2)
    second = players(config, (1, 8, 8))[1].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_dcgan_weights_have_standard_deviation_0_02():
    generator, discriminator = players(GanConfig(), (1, 28, 28))
    for weight in (generator.project.weight, generator.up1.weight, discriminator.features[2].weight):
        assert float(weight.std()) == pytest.approx(0.02, rel=0.05)
        assert float(weight.mean()) == pytest.approx(0, abs=0.001)


def test_dcgan_initialisation_reaches_spectrally_normalised_weights():
    discriminator = players(GanConfig(discriminator_norm="spectral"), (1, 28, 28))[1]
    original = discriminator.features[2].parametrizations.weight.original
    assert float(original.std()) == pytest.approx(0.02, rel=0.05)


def test_spectral_normalisation_gives_singular_value_1_from_the_first_step():
    discriminator = players(GanConfig(discriminator_norm="spectral"), (1, 28, 28))[1].eval()
    layers = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, rel=0.05)


def test_batch_norm_of_the_discriminator_follows_the_configuration():
    kinds = {
        norm: any(
            isinstance(module, nn.BatchNorm2d)
            for module in players(SMALL.model_copy(update={"discriminator_norm": norm}), (1, 8, 8))[1].modules()
        )
        for norm in ("batch", "spectral", "none")
    }
    assert kinds == {"batch": True, "spectral": False, "none": False}


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 16), st.integers(1, 16), st.sampled_from([1, 3]))
def test_what_the_generator_makes_the_discriminator_takes(rows, columns, channels):
    shape = (channels, 4 * rows, 4 * columns)
    generator, discriminator = players(SMALL, shape)
    labels = torch.tensor([0, 2])
    assert discriminator(generator(torch.randn(2, 8), labels), labels).shape == (2,)


def test_at_first_the_noise_decides_the_image_more_than_the_class():
    generator = players(GanConfig(), (1, 28, 28))[0].train()
    rng = torch.Generator().manual_seed(0)
    latent, labels = torch.randn(120, 64, generator=rng), torch.arange(120) % 3
    images = generator(latent, labels)
    of_noise = (images[3:] - images[:-3]).abs().mean()  # neighbours of the same class
    of_class = (generator(latent, (labels + 1) % 3) - images).abs().mean()
    assert of_noise > 3 * of_class


def test_an_ensembles_image_is_one_members_and_all_take_part():
    members = [players(SMALL, (1, 8, 8), seed)[0].eval() for seed in range(3)]
    latent, labels = torch.randn(600, 8, generator=torch.Generator().manual_seed(0)), torch.arange(600) % 3
    images = GeneratorEnsemble(members)(latent, labels)
    by_member = torch.stack([member(latent, labels) for member in members])  # (3, 600, 1, 8, 8)
    made_by = (by_member - images).abs().amax((2, 3, 4)) < 1e-5
    assert (made_by.sum(0) == 1).all()
    assert made_by.sum(1).min() > 150  # of 600, 200 are expected


def test_which_member_draws_does_not_show_in_the_size_of_the_noise():
    chosen = GeneratorEnsemble([players(SMALL, (1, 8, 8), seed)[0] for seed in range(2)]).members_of
    latent = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(0))
    first = latent[chosen(latent) == 0, 0]
    assert abs(float(first.mean())) < 0.05
    assert abs(float(first.std()) - 1) < 0.05
