import numpy as np
import pytest

from evaluation.baselines import BASELINES, interpolation, pca_mixture

LEVELS = {0: 60, 1: 190}  # mean grey level of each class


def images_of(per_class, shape=(1, 8, 8), seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.array(list(LEVELS), np.int64), per_class)
    means = np.array([LEVELS[label] for label in labels])[:, None, None, None]
    return np.clip(rng.normal(means, 15, (len(labels), *shape)), 0, 255).astype(np.uint8), labels


@pytest.mark.parametrize("make", BASELINES.values(), ids=BASELINES)
@pytest.mark.parametrize("per_class", [1, 2, 5, 200])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 8)])
def test_every_class_gets_as_many_images_as_are_asked_for_and_its_own_look(make, per_class, shape):
    images, labels = make(*images_of(per_class, shape), 30, 0)
    assert images.shape == (60, *shape)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [30, 30]
    for label, level in LEVELS.items():
        assert abs(images[labels == label].mean() - level) < 20


@pytest.mark.parametrize("make", BASELINES.values(), ids=BASELINES)
def test_the_seed_decides_the_images(make):
    given = images_of(8)
    assert np.array_equal(make(*given, 20, 3)[0], make(*given, 20, 3)[0])
    assert not np.array_equal(make(*given, 20, 3)[0], make(*given, 20, 4)[0])


@pytest.mark.parametrize("make", BASELINES.values(), ids=BASELINES)
def test_images_are_new_where_a_class_has_several(make):
    given, labels = images_of(6)
    made, _ = make(given, labels, 40, 0)
    known = {image.tobytes() for image in given}
    assert sum(image.tobytes() in known for image in made) < 4


def test_interpolated_images_lie_between_two_of_their_class():
    given, labels = images_of(5)
    made, made_labels = interpolation(given, labels, 25, 0)
    for label in LEVELS:
        of_class = given[labels == label]
        assert (made[made_labels == label] >= of_class.min(0)).all()
        assert (made[made_labels == label] <= of_class.max(0)).all()


def test_a_mixture_finds_the_two_modes_of_a_class():
    rng = np.random.default_rng(0)
    modes = np.where(rng.random(400) < 0.5, 40, 210)
    given = np.clip(rng.normal(modes[:, None, None, None], 5, (400, 1, 8, 8)), 0, 255).astype(np.uint8)
    made = pca_mixture(given, np.zeros(400, np.int64), 200, 0)[0].mean((1, 2, 3))
    assert ((made < 80) | (made > 170)).all()


def test_a_class_of_equal_images_repeats_them():
    given = np.full((4, 1, 8, 8), 77, np.uint8)
    for make in BASELINES.values():
        assert (make(given, np.zeros(4, np.int64), 3, 0)[0] == 77).all()


def test_a_class_without_images_gets_none():
    given, _ = images_of(2)
    for make in BASELINES.values():
        assert np.bincount(make(given, np.array([0, 0, 2, 2]), 3, 0)[1]).tolist() == [3, 0, 3]
