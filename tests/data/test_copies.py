import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from data import copies
from data.copies import NearCopies, blankness, kept_together, near_copies, near_copy_pairs
from data.images import LabelledImages


def images_of(pixels):
    count = len(pixels)
    return LabelledImages(
        images=pixels, labels=np.arange(count) % 2, rows=np.arange(count) + 100, class_names=("a", "b")
    )


def smooth(count, *, channels=1, seed=0):
    """Images of soft blobs, as photographs are smooth."""
    noise = np.random.default_rng(seed).normal(size=(count, channels, 32, 32))
    spectrum = np.fft.fft2(noise) / (0.02 + np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))) ** 1.5
    blobs = np.fft.ifft2(spectrum).real
    blobs += 2 * blobs[:, :1]  # colours of a photograph differ less than its places do
    low, high = blobs.min((1, 2, 3), keepdims=True), blobs.max((1, 2, 3), keepdims=True)
    return ((blobs - low) / (high - low) * 255).astype(np.uint8)


def saved_anew(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        found = np.asarray(image)
    return found[None] if found.ndim == 2 else found.transpose(2, 0, 1)


# --- what belongs together


def test_identical_images_are_kept_together(striped):
    assert kept_together(striped.take(np.array([3, 1, 3, 2, 1]))).tolist() == [0, 1, 0, 2, 1]


def test_groups_and_copies_join(striped):
    images = striped.take(np.array([0, 1, 2, 3, 1, 5]))
    grouped = dataclasses.replace(images, groups=np.array([7, 7, 8, -1, 8, -1]))
    assert kept_together(grouped).tolist() == [0, 0, 0, 1, 0, 2]


def test_without_either_each_image_is_its_own(striped):
    assert kept_together(striped).tolist() == list(range(60))


# --- near copies


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [75, 90])
def test_images_saved_anew_are_found(channels, quality):
    train = smooth(200, channels=channels)
    test = np.stack([*(saved_anew(image, quality) for image in train[:20]), *smooth(30, channels=channels, seed=1)])
    found = near_copies(images_of(train), images_of(test))
    assert found.count == 20
    assert found.looked_at == 50
    test_row, train_row = found.example
    assert test_row == train_row


def test_brightness_and_contrast_hide_no_copy():
    train = smooth(100)
    assert near_copies(images_of(train), images_of((train[:10] * 0.6 + 50).astype(np.uint8))).count == 10


def test_exact_copies_are_not_near_ones():
    train = smooth(50)
    assert near_copies(images_of(train), images_of(train[:10])).count == 0


def test_other_images_are_no_copies():
    assert near_copies(images_of(smooth(300)), images_of(smooth(100, seed=1))).count == 0


def test_the_same_shape_in_another_colour_is_no_copy():
    shapes = smooth(40)
    red, green = np.zeros((2, 40, 3, 32, 32), np.uint8)
    red[:, :1], green[:, 1:2] = shapes, shapes
    assert near_copies(images_of(red), images_of(green)).count == 0


def test_digits_that_look_alike_are_no_copies():
    from data.sources.digits import load_sklearn_digits

    digits = load_sklearn_digits()
    assert near_copies(digits.train, digits.test).count == 0


def test_images_without_contrast_resemble_nothing():
    flat = np.full((5, 1, 8, 8), 9, np.uint8)
    assert near_copies(images_of(flat), images_of(flat + 1)) == NearCopies(count=0, looked_at=5, example=None)


def test_of_too_many_pairs_some_test_images_are_looked_at(monkeypatch):
    monkeypatch.setattr(copies, "MAX_PAIRS", 1000)
    train = smooth(100)
    found = near_copies(images_of(train), images_of(np.stack([saved_anew(image, 90) for image in train])))
    assert found.looked_at == 10
    assert found.count == 10


def test_nothing_to_look_at(striped):
    nothing = striped.take(np.array([], np.int64))
    assert near_copies(striped, nothing).count == near_copies(nothing, striped).count == 0


# --- blank data


def test_healthy_images_are_not_blank(striped):
    assert blankness(striped) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda pixels: np.zeros_like(pixels), "all 60 images are one and the same"),
        (
            lambda pixels: np.where(np.arange(60)[:, None, None, None] < 40, pixels[:1], pixels),
            "40 of 60 images are one",
        ),
        (
            lambda pixels: pixels // 40 + np.arange(60, dtype=np.uint8)[:, None, None, None],
            "60 of 60 images have no contrast",
        ),
        (lambda pixels: pixels // 16, r"the brightest pixel of all images is 14 of 255 \(--set data\.bits=4"),
    ],
)
def test_what_is_nearly_blank_is_named(striped, change, reason):
    changed = change(striped.images).astype(np.uint8)
    with_reason = blankness(dataclasses.replace(striped, images=changed))
    assert reason.replace("\\", "") in with_reason


# --- near copies within one split


def test_images_saved_anew_are_kept_together():
    originals = smooth(40)
    both = images_of(np.stack([*originals, *(saved_anew(image, 75) for image in originals[:10])]))
    units = kept_together(both)
    assert units[:10].tolist() == units[40:].tolist()
    assert len(np.unique(units)) == 40
    assert kept_together(images_of(originals)).tolist() == list(range(40))


def test_images_that_are_all_alike_are_no_copies():
    noise = np.random.default_rng(0).integers(-2, 3, (20, 1, 32, 32))
    alike = images_of(np.clip(smooth(1) + noise, 0, 255).astype(np.uint8))
    assert len(near_copy_pairs(alike)) == 20
    assert kept_together(alike).tolist() == list(range(20))


def test_near_copies_of_one_split_are_no_exact_ones():
    originals = smooth(20)
    assert len(near_copy_pairs(images_of(np.concatenate([originals, originals])))) == 0


def test_of_too_many_pairs_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(copies, "MAX_OWN_PAIRS", 200)
    originals = smooth(20)
    both = images_of(np.stack([*originals, *(saved_anew(image, 75) for image in originals)]))
    assert 0 < len(near_copy_pairs(both)) < 20
