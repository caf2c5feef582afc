"""The encoder: codes as long as noise, each image's own, and which of them a generator keeps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.base.device import Compute
from gan.checkpoint import load_generator
from gan.config import GanConfig
from gan.encoder import Encoder, codes_of, kept_rows
from gan.training import Training, train

CPU = Compute(device="cpu", precision="float32")
SMALL = GanConfig(batch_size=24, generator_width=8, discriminator_width=8, latent_dim=8, encoder=True, snapshots=1)


def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(SMALL, image_shape=(3, 8, 12))


def test_codes_are_as_long_as_noise_is():
    codes = encoder()(torch.rand(5, 3, 8, 12))
    assert codes.shape == (5, 8)
    torch.testing.assert_close(codes.norm(dim=1), torch.full((5,), 8**0.5))


def test_an_image_without_anything_in_it_has_a_finite_code():
    assert encoder()(torch.zeros(2, 3, 8, 12)).isfinite().all()


def test_codes_of_many_images_depend_on_each_image_alone_and_leave_the_encoder_in_training(monkeypatch):
    monkeypatch.setattr("gan.encoder.ENCODED_AT_ONCE", 2)
    images, network = torch.rand(5, 3, 8, 12), encoder()
    together = codes_of(network, images)
    torch.testing.assert_close(together[3:4], codes_of(network, images[3:4]))
    assert network.training


@pytest.mark.parametrize(("most", "expected"), [(100, [3, 20, 30]), (30, [3, 10, 10]), (3, [1, 1, 1]), (1, [1, 1, 1])])
def test_kept_codes_are_shared_out_evenly_by_class(most, expected):
    labels = np.repeat([0, 2, 5], [3, 20, 30])
    rows = kept_rows(labels, most=most, seed=0)
    assert (np.diff(rows) > 0).all()
    assert np.unique(labels[rows], return_counts=True)[1].tolist() == expected


def test_which_codes_are_kept_is_drawn_by_the_seed():
    labels = np.zeros(100, np.int64)
    first, again, other = (kept_rows(labels, most=10, seed=seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


@pytest.mark.slow
def test_the_trained_generator_makes_images_again_from_their_codes(striped, tmp_path):
    shades = np.linspace(0, 255, 20).astype(np.uint8).repeat(3)  # each of 20, in each class
    striped = replace(striped, images=np.broadcast_to(shades[:, None, None, None], (60, 1, 8, 8)).copy())
    config = SMALL.model_copy(update={"steps": 300}).for_subset(len(striped), policy="none", image_shape=striped.shape)
    train(striped, tmp_path, config=config, seed=0, compute=CPU, on_progress=lambda _: None)
    generator, _ = load_generator(tmp_path / "generator.safetensors")
    (member,) = generator.members
    labels = torch.from_numpy(striped.labels)
    assert torch.equal(member.codes.labels, labels)  # all are kept, in the subset's order
    made = (member(member.codes.vectors, labels).detach().numpy() + 1) * 127.5
    assert np.abs(made - striped.images).mean() < 20  # of two random shades: 85


def test_only_some_of_many_images_keep_their_codes_and_samples_are_made_all_the_same(striped, monkeypatch):
    monkeypatch.setattr("gan.training.MOST_CODES", 9)
    training = Training(striped, config=SMALL.for_subset(len(striped), image_shape=striped.shape), seed=0, compute=CPU)
    training.step()
    averaged = training.averaged()
    assert torch.bincount(averaged.codes.labels).tolist() == [3, 3, 3]
    assert training.state.ema_generator.codes is None
    noise = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    assert averaged.latent_of(noise, torch.arange(6) % 3).isfinite().all()
