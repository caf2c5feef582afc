from itertools import pairwise

import numpy as np
import pytest
import torch

from data.base.randomness import torch_stream
from evaluation.batches import EvenClasses, Pool, added_counts

LABELS = np.array([2] * 50 + [0] * 5 + [3], np.int64)


def drawn(*, batches, size, seed=0):
    even, rng = EvenClasses.of(LABELS), torch_stream(seed, "test")
    return [even.draw(size, turn=step * size, rng=rng) for step in range(batches)]


def test_every_batch_holds_every_class_as_often():
    for rows in drawn(batches=20, size=9):
        assert list(np.unique(LABELS[rows], return_counts=True)[1]) == [3, 3, 3]


def test_batches_that_classes_do_not_divide_are_even_together():
    rows = torch.cat(drawn(batches=30, size=4))
    assert list(np.unique(LABELS[rows], return_counts=True)[1]) == [40, 40, 40]


def test_every_image_of_a_class_comes_about_as_often():
    rows = torch.cat(drawn(batches=500, size=30)).numpy()
    often = np.bincount(rows, minlength=len(LABELS))
    assert often[-1] == 5000
    assert often[50:55] == pytest.approx(np.full(5, 1000), rel=0.15)
    assert often.min() > 50


def test_same_stream_draws_the_same_images():
    assert torch.equal(torch.cat(drawn(batches=5, size=7)), torch.cat(drawn(batches=5, size=7)))
    assert not torch.equal(torch.cat(drawn(batches=5, size=7)), torch.cat(drawn(batches=5, size=7, seed=1)))


def test_only_balanced_pools_draw_evenly(striped):
    rare = striped.take(np.concatenate([np.flatnonzero(striped.labels == 0), np.flatnonzero(striped.labels == 1)[:1]]))
    shares = {}
    for balance in ("none", "loss", "batches"):
        pool = Pool.of(rare, balance=balance)
        rows = pool.draw(200, turn=0, rng=torch_stream(0, "test"))
        shares[balance] = float((rare.labels[rows.numpy()] == 1).mean())
    assert shares["batches"] == 0.5
    assert shares["none"] == shares["loss"] < 0.15


def test_added_images_fade_on_a_line():
    counts = added_counts(101, batch_size=32, shares=(0.5, 0.0))
    assert counts[0] == 16
    assert counts[50] in (7, 8, 9)
    assert counts[-1] == 0
    assert sum(counts) == 101 * 8
    assert all(after <= before + 1 for before, after in pairwise(counts))


def test_fractions_of_an_added_image_are_not_lost():
    assert added_counts(10, batch_size=4, shares=(0.125, 0.125)) == [0, 1] * 5
    assert added_counts(1, batch_size=32, shares=(0.5, 0.0)) == [16]
