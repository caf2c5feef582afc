import numpy as np
import pytest
from rich.console import Console

from data.base.device import Compute
from data.base.errors import UsageError
from data.decoding import encode_pngs
from data.images import LabelledImages
from data.parquet import write_published_shard, write_subset
from data.sources.registry import Source
from evaluation.audit import AuditReport, AuditTrial
from evaluation.checks import CHECK_NAMES, Check
from evaluation.membership import Membership, attack
from flows.commands.audit import audit_lines, audit_table, given_samples, quick_gan_samples
from gan.config import GanConfig

CPU = Compute(device="cpu", precision="float32")


def trial(generator, expected, *failed):
    checks = tuple(
        Check(
            name=name, grade="failed" if name in failed else "passed", figure=0.0, threshold=0.0, p_value=0.5, detail=""
        )
        for name in CHECK_NAMES
    )
    unknown = attack(np.zeros(0), np.zeros(0))
    membership = Membership(num_members=0, num_others=0, samples=unknown, baseline=unknown, control=unknown)
    return AuditTrial(
        generator=generator,
        family="quality" if expected else "honest",
        expected=(expected,) if expected else (),
        checks=checks,
        membership=membership,
    )


def report(*trials):
    return AuditReport(
        dataset="x", seed=0, features="0", num_training=1, num_samples=1, elapsed_seconds=1.0, trials=trials
    )


def test_caught_cheat_and_honest_generator_pass():
    found = report(trial("honest", None), trial("noise", "realistic", "realistic"))
    assert found.passed
    assert audit_lines(found)[1:3] == [
        " 1 honest: passed every check of what it has seen, as it should",
        " 2 noise: caught by: realistic",
    ]


def test_cheat_caught_by_another_check_only_does_not_pass():
    found = report(trial("noise", "realistic", "no duplicates"))
    assert not found.passed
    assert audit_lines(found)[1] == " 1 noise: NOT caught by 'realistic' (figure 0, p = 0.5)"


def test_honest_generator_that_is_said_to_have_seen_more_does_not_pass():
    assert not report(trial("honest", None, "no copies of test images")).passed


def test_honest_generator_may_be_a_poor_one():
    found = report(trial("honest", None, "realistic"))
    assert found.passed
    assert audit_lines(found)[1].endswith("its quality failed: realistic")


def test_quick_gan_sees_the_subset_and_draws_the_classes_asked_for(striped):
    made = quick_gan_samples(
        striped.take(np.arange(18)),
        striped.take(np.arange(7)),
        config=GanConfig(steps=2, batch_size=4, generator_width=2, discriminator_width=2, snapshots=1),
        seed=0,
        compute=CPU,
    )
    assert made.labels.tolist() == striped.labels[:7].tolist()
    assert made.images.shape == (7, *striped.shape)


def test_table_has_a_row_per_check_and_a_column_per_generator():
    table = audit_table(report(trial("a", None), trial("b", "realistic")))
    assert (table.row_count, len(table.columns)) == (len(CHECK_NAMES), 3)


def test_name_of_a_data_set_is_shown_as_it_is():
    found = report(trial("a", None)).model_copy(update={"dataset": "folder:x[/b] [red]"})
    console = Console(width=100)
    with console.capture() as shown:
        console.print(audit_table(found))
    assert "audit of folder:x[/b] [red]" in shown.get()


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
    given = given_samples(tmp_path / "synthetic", source, compute=CPU)
    assert (len(given.synthetic), given.subset.rows.tolist()) == (60, list(range(12)))


def test_samples_without_a_subset_may_have_seen_all_of_train(tmp_path, source, striped):
    publish(tmp_path / "synthetic", striped)
    assert len(given_samples(tmp_path / "synthetic", source, compute=CPU).subset) == 60


def test_missing_samples_are_named(tmp_path, source):
    with pytest.raises(UsageError, match="not a directory"):
        given_samples(tmp_path / "none", source, compute=CPU)
