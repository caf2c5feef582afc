from dataclasses import replace

import numpy as np
import pytest

from data.images import LabelledImages
from data.sources.digits import load_sklearn_digits
from evaluation.leaks import Part, leak_test, search_copies
from evaluation.matching import Gallery, split_gallery
from evaluation.plants import ALTERATIONS, mixture_samples


@pytest.fixture(scope="module")
def digits():
    return load_sklearn_digits()


@pytest.fixture(scope="module")
def scene():
    """Smooth random images of 28x28, as different from each other as photographs are."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(1400, 1, 7, 7)).repeat(4, 2).repeat(4, 3)
    smooth = np.apply_along_axis(lambda line: np.convolve(line, np.ones(5) / 5, mode="same"), 2, coarse)
    smooth = np.apply_along_axis(lambda line: np.convolve(line, np.ones(5) / 5, mode="same"), 3, smooth)
    pixels = (128 + 90 * smooth).clip(0, 255).astype(np.uint8)
    labels = np.arange(1400, dtype=np.int64) % 2
    return LabelledImages(images=pixels, labels=labels, rows=np.arange(1400, dtype=np.int64), class_names=("a", "b"))


@pytest.mark.parametrize("kind", sorted(ALTERATIONS))
def test_an_altered_copy_is_matched_with_its_original(scene, kind):
    rng = np.random.default_rng(1)
    originals = rng.integers(0, 300, 60)
    copies = replace(scene.take(originals), images=ALTERATIONS[kind](scene.images[originals], rng))
    found = Gallery(scene.take(np.arange(300))).match(copies)
    assert (found.nearest == originals).mean() > 0.9
    assert np.median(found.ratio) < 0.2


@pytest.mark.parametrize("count", [1300, 1297])  # with and without a whole last block of references
def test_the_last_of_many_references_is_found_as_well_as_the_first(scene, count):
    rows = np.array([0, 1, count - 2, count - 1])
    found = Gallery(scene.take(np.arange(count))).match(scene.take(rows))
    assert found.nearest.tolist() == rows.tolist()


@pytest.fixture(scope="module")
def drawn(scene):
    """The middles of the scene's images on a plain ground, as digits lie on theirs."""
    images = np.zeros_like(scene.images)
    images[:, :, 8:20, 8:20] = scene.images[:, :, 8:20, 8:20]
    return replace(scene, images=images)


def shifted(images, pixels):
    return replace(images, images=np.roll(images.images, (pixels, -pixels), (2, 3)))


def test_shifted_frames_are_for_images_without_a_plain_ground(scene, drawn):
    few = np.arange(300)
    assert len(Gallery(scene.take(few)).frames) == 16
    assert len(Gallery(drawn.take(few)).frames) == 8


def test_shifted_images_on_a_plain_ground_are_found(drawn):
    rows = np.arange(100)
    found = Gallery(drawn.take(np.arange(300))).match(shifted(drawn.take(rows), 3))
    assert (found.nearest == rows).mean() > 0.95
    assert np.median(found.ratio) < 0.1


def test_only_references_that_count_are_found(scene):
    gallery, others = Gallery(scene.take(np.arange(300))), np.arange(50, 300)
    found = gallery.match(scene.take(np.arange(100)), among=others)
    assert found.nearest.min() >= 50
    assert found.nearest[50:].tolist() == list(range(50, 100))
    assert np.median(found.ratio[:50]) > 0.4


def test_a_part_of_a_split_is_searched_as_by_itself(scene):
    split, samples = scene.take(np.arange(300)), scene.take(np.arange(40, 100))
    part = {"among": "them", "references": split.take(np.arange(50, 300)), "unseen": scene.take(np.arange(300, 400))}
    alone, within = (search_copies(Part(**part, split=each), samples) for each in (None, split))
    assert (within.exact, within.num_references) == (50, 250)
    assert within.share == alone.share == 50 / 60
    assert within.alike_p_value == pytest.approx(alone.alike_p_value, rel=0.1)


def test_the_gallery_of_a_split_is_made_once_for_equal_images(scene):
    first, equal, other = (scene.take(np.arange(*ends)) for ends in ((0, 300), (0, 300), (1, 301)))
    assert split_gallery(first) is split_gallery(equal)
    assert split_gallery(other) is not split_gallery(equal)


def test_an_unseen_image_is_about_as_far_from_its_best_match_as_from_others(scene):
    found = Gallery(scene.take(np.arange(300))).match(scene.take(np.arange(400, 500)))
    assert np.quantile(found.ratio, 0.05) > 0.4


@pytest.mark.parametrize("kind", sorted(ALTERATIONS))
def test_one_in_fifty_copies_is_found_as_a_share_with_its_interval(scene, kind):
    rng = np.random.default_rng(2)
    references, unseen, fresh = (scene.take(np.arange(*ends)) for ends in ((0, 250), (250, 1150), (1150, 1400)))
    samples = fresh.take(rng.integers(0, 250, 600))
    images = samples.images.copy()
    images[:12] = ALTERATIONS[kind](references.images[:12], rng)
    found = search_copies(Part(among="them", references=references, unseen=unseen), replace(samples, images=images))
    assert found.p_value < 1e-3
    assert found.low < 0.02 < found.high
    assert found.unseen_share == 0


def test_exact_copies_are_counted_wherever_they_are(scene):
    references, unseen = scene.take(np.arange(300)), scene.take(np.arange(300, 500))
    samples = scene.take(np.concatenate([np.arange(500, 600), [7]]))
    assert search_copies(Part(among="them", references=references, unseen=unseen), samples).exact == 1


def test_honest_mixture_shows_no_copies(digits):
    train = digits.train.take(np.arange(400))
    samples = mixture_samples(train, digits.train.labels[:300], rng=np.random.default_rng(0))
    found = search_copies(Part(among="them", references=train, unseen=digits.train.take(np.arange(400, 800))), samples)
    assert found.p_value > 0.01


def test_three_references_are_too_few(scene):
    found = search_copies(Part(among="them", references=scene.take(np.arange(3)), unseen=scene), scene)
    assert found.share is None
    assert found.unavailable == "only 3 images to look for copies of"


def preference(samples, scene, usual=600):
    return leak_test(
        samples,
        test=scene.take(np.arange(200)),
        unseen=scene.take(np.arange(200, 400)),
        usual=scene.take(np.arange(400, usual)),
        rng=np.random.default_rng(0),
    )


@pytest.mark.parametrize(("first", "share"), [(0, 1.0), (200, 0.0)])
def test_preference_is_found_on_either_side(scene, first, share):
    found = preference(scene.take(np.arange(first, first + 200)), scene)
    assert found.share == share
    assert found.p_value < 1e-6


def test_samples_between_a_half_and_what_is_usual_have_seen_neither_side(scene):
    test, unseen = scene.take(np.arange(200)), scene.take(np.arange(200, 400))
    usual = scene.take(np.concatenate([np.arange(200, 400), np.arange(50)]))  # a fifth lies nearer to the test images
    samples = scene.take(np.concatenate([np.arange(200, 400), np.arange(100)]))  # a third
    found = leak_test(samples, test=test, unseen=unseen, usual=usual, rng=np.random.default_rng(0))
    assert (found.beyond, found.p_value) == (0, 1)


def test_one_image_again_and_again_proves_no_preference(scene):
    found = preference(scene.take(np.zeros(500, np.int64)), scene)
    assert found.share == 1.0
    assert found.p_value > 0.1


def test_leak_test_needs_unseen_images(scene):
    none = scene.take(np.zeros(0, np.int64))
    found = leak_test(scene, test=scene, unseen=none, usual=none, rng=np.random.default_rng(0))
    assert found.share is None
    assert "no unseen train images" in found.unavailable
