import pytest
import torch
from pydantic import ValidationError

from data.augmentation import deform
from data.config import DeformationConfig

STILL = DeformationConfig(rotation_degrees=0, translation=0, scale=0, shear=0, elastic=0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def blob(batch=4, side=16):
    """A bright 4x4 square a little right of the middle."""
    images = torch.full((batch, 1, side, side), -1.0)
    images[:, :, 6:10, 8:12] = 1.0
    return images


def centre(images):
    """(B, 2) centre of brightness, row and column."""
    weight = (images[:, 0] + 1) / (images[:, 0] + 1).sum((1, 2), keepdim=True)
    positions = torch.arange(images.shape[-1], dtype=torch.float32)
    return torch.stack([(weight.sum(2) * positions).sum(1), (weight.sum(1) * positions).sum(1)], dim=1)


def test_zero_ranges_change_nothing():
    assert torch.allclose(deform(blob(), config=STILL, rng=rng()), blob(), atol=1e-5)


def test_every_image_gets_its_own_deformation():
    images = deform(blob(), config=DeformationConfig(), rng=rng())
    assert not torch.allclose(images[0], images[1], atol=1e-2)


def test_the_same_stream_gives_the_same_images():
    first, second = (deform(blob(), config=DeformationConfig(), rng=rng(3)) for _ in range(2))
    assert torch.equal(first, second)


def test_translation_stays_within_its_share_of_the_side():
    config = STILL.model_copy(update={"translation": 0.1})
    moved = centre(deform(blob(64), config=config, rng=rng())) - centre(blob(64))
    assert moved.abs().max() <= 0.1 * 16 + 0.05
    assert moved.abs().max() > 0.05 * 16


def test_scale_alone_keeps_the_middle():
    images = torch.full((32, 1, 16, 16), -1.0)
    images[:, :, 6:10, 6:10] = 1.0
    zoomed = deform(images, config=STILL.model_copy(update={"scale": 0.3}), rng=rng())
    assert torch.allclose(centre(zoomed), torch.full((32, 2), 7.5), atol=0.05)


def test_the_background_stays_at_the_border_value():
    assert torch.allclose(deform(blob(8), config=DeformationConfig(), rng=rng())[:, :, 0, 0], torch.tensor(-1.0))


def test_gradients_flow_to_the_images():
    images = blob().requires_grad_()
    deform(images, config=DeformationConfig(), rng=rng()).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_shape_and_type_are_kept(kind):
    images = deform(torch.zeros(2, 3, 8, 12, dtype=kind), config=DeformationConfig(), rng=rng())
    assert images.shape == (2, 3, 8, 12)
    assert images.dtype == kind


@pytest.mark.parametrize("change", [{"rotation_degrees": -1}, {"elastic_grid": 1}, {"scale": 1.0}, {"zoom": 1}])
def test_impossible_ranges_are_refused(change):
    with pytest.raises(ValidationError):
        DeformationConfig(**change)
