import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.base.device import Compute
from gan.config import GanConfig
from gan.networks import Generator, GeneratorEnsemble, initialise_dcgan
from gan.sampling import (
    ConfidenceFilter,
    FilterTooStrictError,
    apportion,
    class_sequence,
    draw_confident_images,
    draw_images,
    generate,
)

CPU = Compute(device="cpu", precision="float32")
LABELS = np.arange(300, dtype=np.int64) % 3


@pytest.fixture(scope="module")
def generator():
    config = GanConfig(generator_width=4, latent_dim=8)
    member = Generator(config, image_shape=(1, 8, 8), num_classes=3)
    initialise_dcgan(member, config=config, rng=torch.Generator().manual_seed(0))
    return GeneratorEnsemble([member]).eval()


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def brightness(images):
    """A classifier whose probability of every class is the image's mean brightness."""
    return np.repeat(images.mean((1, 2, 3), dtype=np.float32)[:, None] / 255, 3, axis=1)


def test_one_image_a_label(generator):
    images = draw_images(generator, LABELS, rng=rng(), compute=CPU)
    assert images.shape == (300, 1, 8, 8)
    assert images.dtype == np.uint8


def test_the_stream_decides(generator):
    first, same, other = (draw_images(generator, LABELS, rng=rng(seed), compute=CPU) for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_an_image_depends_on_its_own_latent_and_label_only(generator):
    latent = torch.randn(300, 8, generator=rng())
    labels = torch.from_numpy(LABELS)
    whole = generate(generator, latent, labels, compute=CPU)
    assert torch.allclose(whole[[270]], generate(generator, latent[[270]], labels[[270]], compute=CPU), atol=1e-5)


def test_the_class_changes_the_image(generator):
    first, second = (draw_images(generator, np.full(4, label), rng=rng(), compute=CPU) for label in (0, 1))
    assert not np.array_equal(first, second)


def test_a_filter_keeps_only_confident_samples(generator):
    threshold = float(np.median(brightness(draw_images(generator, LABELS, rng=rng(), compute=CPU))[:, 0]))
    keep = ConfidenceFilter(predict_probabilities=brightness, minimum=threshold, identity="brightness")
    images, confidence = draw_confident_images(generator, LABELS, keep, rng=rng(), compute=CPU)
    assert confidence.min() >= threshold
    assert np.array_equal(confidence, brightness(images)[:, 0])


def test_a_minimum_of_zero_changes_no_image(generator):
    keep = ConfidenceFilter(predict_probabilities=brightness, minimum=0.0, identity="brightness")
    images, _ = draw_confident_images(generator, LABELS, keep, rng=rng(), compute=CPU)
    assert np.array_equal(images, draw_images(generator, LABELS, rng=rng(), compute=CPU))


def test_a_filter_that_accepts_nothing_gives_up(generator):
    keep = ConfidenceFilter(predict_probabilities=brightness, minimum=1.1, identity="brightness")
    with pytest.raises(FilterTooStrictError, match=r"3 samples .*below confidence 1\.1"):
        draw_confident_images(generator, LABELS[:3], keep, rng=rng(), compute=CPU)


@given(st.integers(1, 10_000), st.lists(st.integers(0, 500), min_size=1, max_size=20).filter(any))
def test_shares_add_up_and_are_within_one_of_exact(num_images, weights):
    weights = np.array(weights, np.int64)
    counts = apportion(num_images, weights)
    assert counts.sum() == num_images
    assert np.abs(counts - num_images * weights / weights.sum()).max() < 1


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any))
def test_a_sequence_holds_every_class_as_often_as_counted(counts):
    labels = class_sequence(np.array(counts, np.int64))
    assert np.bincount(labels, minlength=len(counts)).tolist() == counts


def test_balanced_classes_take_turns():
    assert class_sequence(np.array([3, 3, 3])).tolist() == [0, 1, 2] * 3


def test_every_stretch_of_an_imbalanced_sequence_has_its_shares():
    labels = class_sequence(np.array([900, 100]))
    assert [int((labels[start : start + 100] == 1).sum()) for start in range(0, 1000, 100)] == [10] * 10
