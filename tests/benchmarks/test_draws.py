import argparse
from pathlib import Path

import numpy as np
import pytest

from benchmarks.draws import DrawSettings, DrawTable, add_draw_options
from benchmarks.protocol import balanced_held_out
from data.base.errors import UsageError

COLUMNS = ("settings", "draw", "arm", "accuracy")


def table(path: Path, settings: str = "a") -> DrawTable:
    return DrawTable(path=path, columns=COLUMNS, settings=settings)


def test_no_draw_is_finished_before_the_first(tmp_path):
    assert table(tmp_path / "draws.csv").finished() == {}


def test_rows_of_a_draw_are_read_back_together(tmp_path):
    path = tmp_path / "new" / "draws.csv"
    table(path).add([{"draw": 3, "arm": arm, "accuracy": 0.5} for arm in ("one", "other")])
    table(path).add([{"draw": 4, "arm": "one", "accuracy": 0.25}])
    finished = table(path).finished()
    assert sorted(finished) == [3, 4]
    assert [row["arm"] for row in finished[3]] == ["one", "other"]
    assert float(finished[4][0]["accuracy"]) == 0.25


def test_draws_of_other_settings_do_not_count(tmp_path):
    path = tmp_path / "draws.csv"
    table(path, "a").add([{"draw": 0, "arm": "one", "accuracy": 1}])
    assert table(path, "b").finished() == {}


def test_column_that_the_table_lacks_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="extra"):
        table(tmp_path / "draws.csv").add([{"draw": 0, "extra": 1}])


def test_validation_images_are_balanced_and_outside_the_subset(striped):
    subset = striped.take(np.arange(10))
    validation = balanced_held_out(striped, without=subset, images_per_class=5, seed=0)
    assert list(validation.class_counts()) == [5, 5, 5]
    assert not set(validation.rows) & set(subset.rows)


def settings(*options: str) -> DrawSettings:
    parser = argparse.ArgumentParser()
    add_draw_options(parser, draws=20, csv_name="draws.csv")
    return DrawSettings.of(parser.parse_args(options))


def test_options_override_configurations():
    chosen = settings("--gan", "steps=7", "--gan", "class_balanced_batches=true", "--classifier", "width=32")
    assert (chosen.gan.steps, chosen.gan.class_balanced_batches, chosen.classifier.width) == (7, True, 32)


def test_option_that_sets_nothing_is_refused():
    with pytest.raises(UsageError, match="'stepz=7' sets nothing"):
        settings("--gan", "stepz=7")


def test_draws_count_from_the_first():
    assert list(settings("--first-draw", "1000", "--draws", "3").draws) == [1000, 1001, 1002]


@pytest.mark.parametrize("options", [("--gan", "steps=7"), ("--split", "test"), ("--deformation", "shear=0.1")])
def test_other_settings_have_another_digest(options):
    assert settings(*options).digest(10) != settings().digest(10) != settings().digest(50)


def test_number_and_label_of_draws_leave_the_digest():
    assert settings("--first-draw", "7", "--draws", "2", "--label", "x").digest(10) == settings().digest(10)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_test_images_are_read_for_the_test_split_only(striped, split):
    validation, test = striped.take(np.arange(10)), striped.take(np.arange(10, 20))
    judge = settings("--split", split).judge(0, added_shares=(0.5, 0.0), validation=validation, test=test)
    assert judge.judged_on is {"validation": validation, "test": test}[split]
