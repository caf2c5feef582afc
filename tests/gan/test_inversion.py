import numpy as np
import pytest
import torch

from data.base.device import Compute
from data.images import LabelledImages
from data.tensors import to_pixels
from gan.config import GanConfig
from gan.inversion import nearest_made
from gan.networks import Generator, GeneratorEnsemble, initialise_dcgan
from gan.residual import ResidualGenerator, initialise_residual

CPU = Compute(device="cpu", precision="float32")


def ensemble(*, codes):
    config = GanConfig(latent_dim=8, generator_width=4)
    member = Generator(config, image_shape=(1, 8, 8), num_classes=2, labels=torch.arange(6) % 2 if codes else None)
    initialise_dcgan(member, config=config, rng=torch.Generator().manual_seed(0))
    for norm in (member.norm1, member.norm2):
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        member(torch.randn(200, 8, generator=torch.Generator().manual_seed(1)), torch.arange(200) % 2)
    return GeneratorEnsemble([member]).eval()


@torch.no_grad()
def made(generator, latent, labels):
    images = to_pixels(generator.members[0](latent, labels))
    return LabelledImages(images=images, labels=labels.numpy(), rows=np.arange(len(images)), class_names=("0", "1"))


def test_an_image_that_a_code_stands_for_is_found():
    generator = ensemble(codes=True)
    decoded = made(generator, generator.members[0].codes.vectors, torch.arange(6) % 2)
    assert nearest_made(generator, decoded, compute=CPU) == pytest.approx(0, abs=0.05)


def test_a_code_of_another_class_is_not_looked_at():
    generator = ensemble(codes=True)
    decoded = made(generator, generator.members[0].codes.vectors, torch.arange(6) % 2)
    swapped = LabelledImages(
        images=decoded.images, labels=1 - decoded.labels, rows=decoded.rows, class_names=decoded.class_names
    )
    assert (nearest_made(generator, swapped, compute=CPU) > nearest_made(generator, decoded, compute=CPU)).all()


def test_without_codes_latent_vectors_are_moved_to_what_can_be_made():
    generator = ensemble(codes=False)
    labels = torch.arange(8) % 2
    own = made(generator, torch.randn(8, 8, generator=torch.Generator().manual_seed(5)), labels)
    noise = LabelledImages(
        images=np.random.default_rng(0).integers(0, 256, own.images.shape, dtype=np.uint8),
        labels=own.labels,
        rows=own.rows,
        class_names=own.class_names,
    )
    reachable, unreachable = (nearest_made(generator, images, compute=CPU) for images in (own, noise))
    assert np.median(reachable) < np.median(unreachable) / 3


def test_the_same_images_get_the_same_distances():
    generator = ensemble(codes=False)
    images = made(generator, torch.randn(4, 8, generator=torch.Generator().manual_seed(2)), torch.arange(4) % 2)
    np.testing.assert_array_equal(*(nearest_made(generator, images, compute=CPU) for _ in range(2)))


def test_a_residual_generator_is_attacked_likewise():
    config = GanConfig(architecture="residual", latent_dim=8, generator_width=4, reconstruction_weight=3)
    member = ResidualGenerator(config, image_shape=(1, 8, 8), num_classes=2, labels=torch.arange(6) % 2)
    initialise_residual(member, rng=torch.Generator().manual_seed(0))
    generator = GeneratorEnsemble([member]).eval()
    decoded = made(generator, member.codes.vectors, torch.arange(6) % 2)
    assert nearest_made(generator, decoded, compute=CPU) == pytest.approx(0, abs=0.05)
