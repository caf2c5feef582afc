"""Images without labels: what is kept out of them, and which ones a cell gets."""

import numpy as np
import pytest

from data.images import LabelledImages
from data.unlabelled import UnlabelledImages, drawn_for_cell, rest_of_pool, without_copies


def unlabelled(count, *, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    return UnlabelledImages(images=pixels, rows=np.arange(count, dtype=np.int64))


def test_rest_of_a_pool_is_all_but_the_subset(striped: LabelledImages) -> None:
    subset = striped.take(np.arange(0, 60, 7))
    rest = rest_of_pool(striped, subset)
    assert sorted([*rest.rows, *subset.rows]) == list(range(60))
    assert np.array_equal(rest.images, striped.images[rest.rows])


def test_images_without_labels_have_none_to_read(striped: LabelledImages) -> None:
    assert not hasattr(rest_of_pool(striped, striped.take(np.arange(3))), "labels")


def test_copies_of_other_images_are_left_out(striped: LabelledImages) -> None:
    rest = rest_of_pool(striped, striped.take(np.arange(10)))
    tested = striped.take(np.array([2, 20, 59]))
    assert set(rest.rows) - set(without_copies(rest, [tested]).rows) == {20, 59}


def test_a_cell_gets_no_more_than_the_cap_and_always_the_same(striped: LabelledImages) -> None:
    subset, images = striped.take(np.arange(5)), unlabelled(50)
    drawn = drawn_for_cell(images, most=20, subset=subset)
    assert len(set(drawn.rows)) == 20
    assert drawn.digest() == drawn_for_cell(images, most=20, subset=subset).digest()


def test_cells_of_other_subsets_get_other_images(striped: LabelledImages) -> None:
    drawn = [drawn_for_cell(unlabelled(50), most=20, subset=striped.take(np.arange(n))) for n in (5, 6)]
    assert drawn[0].digest() != drawn[1].digest()


def test_all_are_taken_where_they_are_few(striped: LabelledImages) -> None:
    assert drawn_for_cell(unlabelled(9), most=20, subset=striped).digest() == unlabelled(9).digest()


def test_digest_is_of_the_pixels() -> None:
    assert unlabelled(9).digest() != unlabelled(9, seed=1).digest()


@pytest.mark.parametrize("pixels", [np.zeros((2, 8, 8), np.uint8), np.zeros((2, 1, 8, 8))])
def test_other_arrays_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must be"):
        UnlabelledImages(images=pixels, rows=np.arange(2))
