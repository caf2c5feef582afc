"""Policies of classical augmentation: what they do to images, and that they leave nothing else changed."""

import random

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from data.augmentation import change_tones, deform
from data.base.errors import UsageError
from data.base.plugins import allow
from data.config import POLICIES, DeformationConfig
from data.policies import NATURAL, augmented, differentiable_policy_of, policy_of
from data.tensors import to_pixels, to_unit_range

DIGITS = DeformationConfig()
NAMES = [name for name in POLICIES if name != "none"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(channels=3, count=8, side=16):
    return np.random.default_rng(0).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


@pytest.fixture
def own(own_code):
    """Writes a module of the user's own and allows its attribute `change`; returns the policy's name."""

    def write(source):
        file = own_code(f"own_policy_{abs(hash(source))}.py", f"import torch\n{source}\n")
        allow(f"{file.stem}:change")
        return f"{file.stem}:change"

    return write


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_makes_the_same_images_and_another_one_other_images(name, channels):
    policy, images = policy_of(name, digits=DIGITS), pixels(channels)
    first, second, other = (augmented(images, policy=policy, rng=rng(seed)) for seed in (1, 1, 2))
    assert first.shape == images.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", NAMES)
def test_equal_images_of_a_batch_are_changed_differently(name):
    images = np.repeat(pixels(count=1), 12, axis=0)
    changed = augmented(images, policy=policy_of(name, digits=DIGITS), rng=rng())
    assert len(np.unique(changed.reshape(12, -1), axis=0)) > 6


@pytest.mark.parametrize("name", NAMES)
def test_global_generators_are_neither_read_nor_moved(name):
    policy, changed = policy_of(name, digits=DIGITS), []
    for seed in (5, 6):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
        changed.append(augmented(pixels(), policy=policy, rng=rng()))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    assert np.array_equal(*changed)


def test_no_policy_leaves_images_as_they_are():
    assert policy_of("none", digits=DIGITS) is None


def test_digits_is_the_deformation():
    images = pixels(channels=1)
    expected = to_pixels(deform(to_unit_range(images), config=DIGITS, rng=rng(3)))
    assert np.array_equal(augmented(images, policy=policy_of("digits", digits=DIGITS), rng=rng(3)), expected)


def test_natural_mirrors_half_of_the_images_and_shifts_them_by_whole_pixels():
    ramp = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (400, 1, 16, 1))
    policy = NATURAL.__class__(deformation=NATURAL.deformation, flip=NATURAL.flip, whole_pixels=True)
    changed = augmented(ramp, policy=policy, rng=rng()).astype(int)
    steps = np.diff(changed[:, 0, 8], axis=1)
    assert set(np.unique(steps)) == {-10, 0, 10}  # no value in between: nothing was blurred
    assert 160 <= (steps.sum(1) < 0).sum() <= 240


def test_medical_mirrors_nothing():
    ramp = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (200, 1, 16, 1))
    changed = augmented(ramp, policy=policy_of("medical", digits=DIGITS), rng=rng()).astype(int)
    assert (changed[:, 0, 8, -4] > changed[:, 0, 8, 3]).all()


@pytest.mark.parametrize(
    ("place", "adjust"), [(0, F.adjust_brightness), (1, F.adjust_contrast), (2, F.adjust_saturation)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_changes_of_tone_are_torchvisions(place, adjust, channels):
    images = torch.rand(2, channels, 6, 6, generator=rng()) * 2 - 1
    factors = torch.ones(2, 3)
    factors[:, place] = torch.tensor([0.6, 1.3])
    changed = (change_tones(images, factors) + 1) / 2
    for image, result, factor in zip((images + 1) / 2, changed, factors[:, place], strict=True):
        assert torch.allclose(result, adjust(image, float(factor)), atol=1e-4)


@pytest.mark.parametrize("name", ["digits", "natural", "medical", "trivial-augment"])
def test_what_a_discriminator_sees_passes_gradients(name):
    images = (torch.rand(4, 3, 16, 16, generator=rng()) - 0.5).requires_grad_()
    policy = differentiable_policy_of(name, digits=DIGITS)
    policy.apply(images, policy.draw_for(4, size=(16, 16), rng=rng())).sum().backward()
    assert float(images.grad.abs().sum()) > 0


def test_an_undecided_policy_is_no_policy():
    with pytest.raises(ValueError, match="no augmentation policy 'auto'"):
        policy_of("auto", digits=DIGITS)


def test_own_function_changes_pixels(own):
    policy = policy_of(own("def change(images, rng): return 255 - images"), digits=DIGITS)
    assert np.array_equal(augmented(pixels(), policy=policy, rng=rng()), 255 - pixels())


def test_own_transform_is_called_image_by_image(own):
    source = "from torchvision.transforms import v2\nchange = v2.RandomHorizontalFlip(0.5)"
    changed = augmented(pixels(count=40), policy=policy_of(own(source), digits=DIGITS), rng=rng())
    mirrored = [np.array_equal(one, image[:, :, ::-1]) for one, image in zip(changed, pixels(count=40), strict=True)]
    assert 8 <= sum(mirrored) <= 32


def test_own_function_may_draw_from_global_generators(own):
    moved = "random.randrange(9) + torch.randint(9, (1,)).item()"
    source = f"import random\ndef change(images, rng): return images.roll({moved}, 3)"
    policy = policy_of(own(source), digits=DIGITS)
    assert np.array_equal(*(augmented(pixels(), policy=policy, rng=rng()) for _ in range(2)))


def test_own_function_cannot_change_the_training_images(own):
    images = pixels()
    augmented(images, policy=policy_of(own("def change(images, rng): return images.zero_()"), digits=DIGITS), rng=rng())
    assert np.array_equal(images, pixels())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def change(images, rng): return images[:, :1]", r"makes \(8, 1, 16, 16\) uint8 of \(8, 3, 16, 16\) uint8"),
        ("def change(images, rng): return images / 255", r"makes \(8, 3, 16, 16\) float32 of"),
        ("def change(images, rng): return images.numpy()", "makes a ndarray of"),
        ("def change(images, rng): pass", "makes a NoneType of"),
        ("def change(images, rng): raise KeyError('colour')", r"fails on a batch of .*: KeyError: 'colour'"),
        ("def change(images): return images", "fails on a batch of .*: TypeError: "),
        ("from torchvision.transforms import v2\nchange = v2.CenterCrop(4)", r"makes \(8, 3, 4, 4\) uint8 of"),
    ],
)
def test_own_code_that_breaks_its_promise_is_one_clear_line(own, source, message):
    name = own(source)
    with pytest.raises(UsageError, match=message) as raised:
        augmented(pixels(), policy=policy_of(name, digits=DIGITS), rng=rng())
    assert str(raised.value).startswith(f"the augmentation policy {name} ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("change = 7", "is a int; write a function of"),
        ("class change: pass", "is a class; write a function of"),
        ("other = 1", "has no change"),
    ],
)
def test_own_code_that_is_no_policy_is_one_clear_line(own, source, message):
    with pytest.raises(UsageError, match=message):
        policy_of(own(source), digits=DIGITS)


def test_code_that_nobody_allowed_is_not_loaded(own, tmp_path):
    name = own("open('ran', 'w').close()\ndef change(images, rng): return images").replace(":change", ":other")
    with pytest.raises(UsageError, match="--allow"):
        policy_of(name, digits=DIGITS)
    assert not (tmp_path / "ran").exists()
