import re
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks.ablations import REFERENCE, GaussianCodes, half_each, shared_covariance, table_of
from benchmarks.protocol import by_draw
from data.images import LabelledImages
from gan.codes import ImageCodes, SamplePlaces


def test_gains_are_paired_with_the_reference_of_the_same_draw():
    found = {
        REFERENCE: [90.0, 94.0, 96.0],
        "PCA": [91.0, 95.5, 96.5],
        "the GAN: seconds": [1, 1, 1],
        "the GAN": [89, 94, 97],
    }
    lines = table_of(found).splitlines()
    assert lines[2:] == [
        "| none (the reference) | 93.33 | | | |",
        "| PCA | 94.33 | +1.00 | 0.29 | 3 of 3 |",  # 1, 1.5, 0.5: SD 0.5
        "| the GAN | 93.33 | +0.00 | 0.58 | 1 of 3 |",
    ]


def figures_of_a_draw(draw: int, *, scale: float):
    yield "once", scale * draw
    if draw % 2 == 0:
        yield "of even draws", scale * draw


@pytest.mark.slow
def test_figures_of_draws_measured_side_by_side_come_in_the_order_of_the_draws(capfd):
    found = by_draw(partial(figures_of_a_draw, scale=0.5), draws=range(4, 7), workers=2)
    assert found == {"once": [2.0, 2.5, 3.0], "of even draws": [2.0, 3.0]}
    assert re.search(r"draw 5 after \d+ s, once: 2\.50", capfd.readouterr().out)


def two_classes(first, second):
    """Flat images of two pixels; class 0 varies in the first one, class 1 in the second one."""
    flat = np.array([[100 - first, 100], [100 + first, 100], [50, 50 - second], [50, 50 + second]])
    return flat.astype(np.uint8).reshape(4, 1, 1, 2), np.array([0, 0, 1, 1])


def test_a_shared_covariance_carries_over_what_varies_in_the_other_class():
    images, labels = shared_covariance(*two_classes(20, 10), 4000, 0)
    drawn = images[labels == 0].reshape(-1, 2).astype(float)
    assert drawn.mean(0) == pytest.approx([100, 100], abs=1.5)
    assert drawn.var(0) == pytest.approx([0.5 * 400 + 0.5 * 200, 0.5 * 50], rel=0.1)


def test_latent_vectors_from_gaussians_have_the_mean_of_their_class_and_half_of_the_others_covariance():
    codes = ImageCodes(torch.tensor([0, 0, 1, 1]), latent_dim=2)
    codes.vectors.copy_(torch.tensor([[-2.0, 5.0], [2.0, 5.0], [0.0, 4.0], [0.0, 6.0]]))
    noise = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    latent = GaussianCodes.of(codes).between(
        noise, torch.zeros(4000, dtype=torch.int64), places=SamplePlaces(reach=0, spread=2.0)
    )
    assert latent.mean(0).tolist() == pytest.approx([0, 5], abs=0.1)
    assert latent.var(0).tolist() == pytest.approx([0.5 * 4 + 0.5 * 2, 0.5 * 0.5], rel=0.1)


def test_half_each_takes_as_many_images_of_every_class_from_both():
    labels = np.arange(12) % 3

    def filled(value):
        images = np.full((12, 1, 1, 1), value, np.uint8)
        return LabelledImages(images=images, labels=labels, rows=np.arange(12), class_names=("a", "b", "c"))

    both = half_each(filled(1), filled(2))
    assert [int((both.images[both.labels == label] == 1).sum()) for label in range(3)] == [2, 2, 2]
    assert both.class_counts().tolist() == [4, 4, 4]
