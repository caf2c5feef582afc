"""A batch depends on nothing but its step, and no image comes twice before every other one has come."""

import numpy as np
import pytest
import torch

from gan.batches import Batches

TAILED = np.array([0] * 20 + [2] * 3 + [1], np.int64)


def rows(labels: np.ndarray, *, batch_size: int, steps: int, class_balanced: bool = False) -> torch.Tensor:
    batches = Batches(labels, batch_size=batch_size, seed=3, class_balanced=class_balanced)
    return torch.cat([batches.of_step(step) for step in range(steps)])


def test_every_image_is_seen_once_per_epoch_whatever_the_batch_size():
    for batch_size in (2, 7, 20, 33):
        seen = rows(np.zeros(20, np.int64), batch_size=batch_size, steps=20)
        assert torch.equal(seen[:20].sort().values, torch.arange(20))
        assert torch.equal(seen[20:40].sort().values, torch.arange(20))
        assert not torch.equal(seen[:20], seen[20:40])


@pytest.mark.parametrize("class_balanced", [False, True])
def test_batches_of_any_size_cut_the_same_row_of_images(class_balanced):
    by_4 = rows(TAILED, batch_size=4, steps=15, class_balanced=class_balanced)
    by_6 = rows(TAILED, batch_size=6, steps=10, class_balanced=class_balanced)
    assert torch.equal(by_4, by_6)


@pytest.mark.parametrize("class_balanced", [False, True])
def test_a_step_has_the_same_batch_wherever_training_goes_on(class_balanced):
    here, there = (Batches(TAILED, batch_size=5, seed=3, class_balanced=class_balanced) for _ in range(2))
    in_order = [here.of_step(step) for step in range(12)]
    for step in (11, 0, 7):
        assert torch.equal(there.of_step(step), in_order[step])


def test_class_balanced_batches_hold_every_class_as_often():
    batches = Batches(TAILED, batch_size=12, seed=0, class_balanced=True)
    for step in range(5):
        assert np.bincount(TAILED[batches.of_step(step)]).tolist() == [4, 4, 4]


def test_class_balanced_batches_smaller_than_the_classes_take_turns():
    assert TAILED[rows(TAILED, batch_size=2, steps=6, class_balanced=True)].tolist() == [0, 1, 2] * 4


def test_class_balanced_batches_show_a_class_once_before_any_image_twice():
    seen = rows(TAILED, batch_size=6, steps=10, class_balanced=True)
    commonest = seen[TAILED[seen] == 0]
    assert torch.equal(commonest.sort().values, torch.arange(20))
