import pytest

from data.base.errors import UsageError
from data.decoding import encode_pngs
from data.images import LabelledImages
from data.parquet import write_published_shard, write_subset
from data.sources.registry import Source
from evaluation.audit import AuditReport, AuditTrial
from evaluation.checks import CHECK_NAMES, Check
from flows.commands.audit import audit_lines, audit_table, given_samples


def trial(generator, expected, *failed):
    checks = tuple(
        Check(name=name, passed=name not in failed, figure=0.0, threshold=0.0, detail="") for name in CHECK_NAMES
    )
    return AuditTrial(generator=generator, expected=expected, checks=checks)


def report(*trials):
    return AuditReport(
        dataset="x", seed=0, features="0", num_training=1, num_samples=1, elapsed_seconds=1.0, trials=trials
    )


def test_caught_cheat_and_honest_generator_pass():
    found = report(trial("honest", None), trial("noise", "realistic", "realistic"))
    assert found.passed
    assert audit_lines(found)[1:] == [
        " 1 honest: passed every check, as it should",
        " 2 noise: caught by: realistic",
    ]


def test_cheat_caught_by_another_check_only_does_not_pass():
    found = report(trial("noise", "realistic", "no duplicates"))
    assert not found.passed
    assert audit_lines(found)[1] == " 1 noise: NOT caught by 'realistic'"


def test_flagged_honest_generator_does_not_pass():
    assert not report(trial("honest", None, "realistic")).passed


def test_table_has_a_row_per_check_and_a_column_per_generator():
    table = audit_table(report(trial("a", None), trial("b", "realistic")))
    assert (table.row_count, len(table.columns)) == (len(CHECK_NAMES), 3)


@pytest.fixture
def source(striped):
    return Source(name="stripes", train=striped, test=striped)


def publish(directory, images: LabelledImages):
    write_published_shard(
        directory / "data" / "train-00000-of-00001.parquet",
        encoded=encode_pngs(images.images),
        labels=images.labels,
        names=[f"{index}.png" for index in range(len(images))],
        class_names=images.class_names,
        extra={},
    )


def test_samples_of_a_cell_come_with_their_subset(tmp_path, source, striped):
    publish(tmp_path / "synthetic", striped)
    write_subset(tmp_path / "subset.parquet", striped.take(striped.rows[:12]))
    given = given_samples(tmp_path / "synthetic", source)
    assert (len(given.synthetic), given.subset.rows.tolist()) == (60, list(range(12)))


def test_samples_without_a_subset_may_have_seen_all_of_train(tmp_path, source, striped):
    publish(tmp_path / "synthetic", striped)
    assert len(given_samples(tmp_path / "synthetic", source).subset) == 60


def test_missing_samples_are_named(tmp_path, source):
    with pytest.raises(UsageError, match="not a directory"):
        given_samples(tmp_path / "none", source)
