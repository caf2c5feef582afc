"""What changed, image by image."""

import numpy as np
import pytest

from evaluation.changes import class_changes, confusion_changes, flips
from evaluation.predictions import Predictions


def predictions(predicted: list[int], labels: list[int]) -> Predictions:
    return Predictions(
        rows=np.arange(100, 100 + len(labels)),
        labels=np.array(labels),
        probabilities=np.eye(3, dtype=np.float32)[predicted],
    )


LABELS = [0, 0, 1, 1]
BEFORE = predictions([0, 1, 1, 2], LABELS)
AFTER = predictions([0, 0, 0, 2], LABELS)


def test_class_recall_before_and_after() -> None:
    first, second = class_changes([(BEFORE, AFTER)])
    assert (first.before, first.after) == (0.5, 1.0)
    assert (second.before, second.after) == (0.5, 0.0)


def test_class_without_test_images_is_left_out() -> None:
    assert [change.label for change in class_changes([(BEFORE, AFTER)])] == [0, 1]


def test_confusions_are_sorted_by_change_and_leave_out_unchanged_ones() -> None:
    found = confusion_changes([(BEFORE, AFTER)], limit=5)
    assert {(change.label, change.predicted, change.after - change.before) for change in found} == {
        (0, 1, -1.0),
        (1, 0, 1.0),
    }


def test_flip_to_right_names_row_and_answers() -> None:
    number, (flip,) = flips([(BEFORE, AFTER)], to_right=True, limit=5)
    assert (number, flip.row, flip.label, flip.before, flip.after) == (1, 101, 0, 1, 0)


def test_flip_seen_in_most_replicates_comes_first() -> None:
    other = predictions([0, 0, 1, 1], LABELS)
    _, found = flips([(BEFORE, AFTER), (BEFORE, other)], to_right=True, limit=5)
    assert [(flip.row, flip.count) for flip in found] == [(101, 2), (103, 1)]


def test_same_predictions_change_nothing() -> None:
    assert confusion_changes([(BEFORE, BEFORE)], limit=5) == []
    assert flips([(BEFORE, BEFORE)], to_right=True, limit=5) == (0, [])
    assert all(change.differences == pytest.approx((0.0,)) for change in class_changes([(BEFORE, BEFORE)]))
