"""Progress: shares add up, skipped work does not count as speed."""

from flows.study.watching import StageUpdate, StudyClock


def update(stage: str, share: float, weight: float = 10.0) -> StageUpdate:
    return StageUpdate(cell="c", stage=stage, weight=weight, share=share, detail="")


def test_share_counts_finished_and_running_stages() -> None:
    clock = StudyClock(total_weight=40.0)
    clock.finished(update("a", 1.0), skipped=False)
    clock.update(update("b", 0.5))
    assert clock.share == 0.375


def test_finished_stage_is_counted_once() -> None:
    clock = StudyClock(total_weight=20.0)
    clock.update(update("a", 0.9))
    clock.finished(update("a", 1.0), skipped=False)
    assert clock.share == 0.5


def test_no_time_left_is_guessed_from_skipped_stages() -> None:
    clock = StudyClock(total_weight=20.0)
    clock.finished(update("a", 1.0), skipped=True)
    assert clock.remaining() == "? left"
