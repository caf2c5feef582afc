import math

import pytest

from benchmarks.calibration import (
    SHIPPED_THRESHOLDS,
    Judged,
    fails,
    is_caught,
    is_false_alarm,
    set_thresholds,
    tables,
)

COPIES = "no copies of test images"


def judged(dataset="a", generator="a mixture", expected=(), **scores):
    family = "copies" if expected else "honest"
    return Judged(
        dataset=dataset, seed=0, generator=generator, family=family, expected=expected, scores=scores, failed=()
    )


def planted(check, score, **options):
    return judged(
        generator=options.pop("generator", "3% copies, turned"), expected=(check,), **options, **{check: score}
    )


def test_a_threshold_lies_half_way_between_honest_and_planted():
    some = [judged(generator="real images", **{"no duplicates": 0.1}), planted("no duplicates", 0.5)]
    assert set_thresholds(some)["no duplicates"] == pytest.approx(0.3)


def test_a_plant_that_no_threshold_tells_from_honest_ones_does_not_move_it():
    honest = judged(generator="real images", **{"no duplicates": 0.1})
    some = [honest, planted("no duplicates", 0.05), planted("no duplicates", 0.5)]
    assert set_thresholds(some)["no duplicates"] == pytest.approx(0.3)


def test_without_a_plant_meant_for_it_a_threshold_is_the_one_that_ships():
    assert set_thresholds([judged(**{"no duplicates": 0.1})]) == SHIPPED_THRESHOLDS


def test_the_level_for_copies_fails_hardly_any_honest_generator():
    honest = [judged(**{COPIES: 1.0})] * 300
    unlucky = [judged(**{COPIES: 2.6})] * 2
    plant = [planted(COPIES, 9.0)]
    assert set_thresholds([*honest, *unlucky, *plant])[COPIES] == pytest.approx(2)
    assert set_thresholds([*honest, *unlucky * 4, *plant])[COPIES] == pytest.approx(-math.log10(1e-3))


def test_a_weak_honest_generator_is_no_false_alarm_but_real_images_are():
    scores = {"labels are right": 0.9}
    assert not is_false_alarm(judged(**scores), SHIPPED_THRESHOLDS)
    assert is_false_alarm(judged(generator="real images that nobody used", **scores), SHIPPED_THRESHOLDS)


def test_every_check_that_must_fail_a_plant_counts():
    both = (COPIES, "no duplicates")
    one = judged(expected=both, **{COPIES: 9.0, "no duplicates": 0.0})
    assert fails(one, (COPIES,), SHIPPED_THRESHOLDS)
    assert not is_caught(one, SHIPPED_THRESHOLDS)


def test_what_was_left_out_has_no_part_in_its_threshold():
    found = [
        judged("a", "real images", **{"no duplicates": 0.0}),
        planted("no duplicates", 1.0, dataset="a"),
        judged("b", "real images", **{"no duplicates": 0.6}),
        planted("no duplicates", 0.4, dataset="b", generator="3% copies, mirrored"),
    ]
    rows = tables(found)
    left_out = rows[rows.index(next(row for row in rows if row.startswith("| data set left out"))) :]
    assert next(row for row in left_out if row.startswith("| b |")).split(" | ")[1] == "0 of 1"
    assert next(row for row in rows if row.startswith("| b |")).split(" | ")[1] == "1 of 1"
    assert next(row for row in rows if row.startswith("| mirrored")) == "| mirrored | 0 of 1 | 1 of 1 |"
