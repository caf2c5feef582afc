"""Stages: what they read is what they declare, and when they count as finished."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from pydantic import BaseModel

import flows.study.stages.arm
import flows.study.stages.generator
import flows.study.stages.samples
import flows.study.stages.table as table
from data.base.device import Compute
from data.base.errors import AugmentError
from data.images import LabelledImages, identities
from data.parquet import read_published, read_subset
from flows.study import running
from flows.study.config import StudyConfig
from flows.study.engine import CellContext, Stage, StageKind
from flows.study.job import Job, unheard
from flows.study.run_directory import study_cells
from flows.study.stages.table import INPUTS, STAGES, read_synthetic, stage_of, stages_of, study_weight

CPU = Compute(device="cpu", precision="float32")


class Nothing(BaseModel):
    """Settings of a stage that has none."""


def write_something(job: Job[Nothing], **given: object) -> str:
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.write_text(f"made of {sorted(given)}")
    return "made"


def toy_kind(*reads: str) -> StageKind[Nothing]:
    return StageKind(
        name="toy",
        title="make a toy",
        work=write_something,
        reads=lambda _: reads,
        settings=lambda config, cell, _: Nothing(),
        stream=lambda _: ("toy",),
        output=lambda cell, _: cell.directory / "toy.txt",
        weight=lambda _: 7.0,
    )


def context_of(config: StudyConfig, directory: Path) -> CellContext:
    return running.context_of(study_cells(config, directory)[0], config, CPU)


def test_a_stage_that_waits_for_the_instrument_says_so(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_by_another(*_: object, on_wait: Callable[[], None], **__: object) -> NoReturn:
        on_wait()
        raise AugmentError("enough")

    monkeypatch.setattr(flows.study.stages.samples, "feature_network", made_by_another)
    shutil.copytree(undisturbed, tmp_path / "run")
    (stage,) = (it for it in stages_of(context_of(tiny, tmp_path / "run")) if it.kind.name == "samples")
    told: list[str] = []
    with pytest.raises(AugmentError, match="enough"):
        stage.run(lambda _, detail: told.append(detail))
    assert told == ["waiting for another process, which trains the measuring instrument"]


def test_a_new_stage_is_one_entry_of_the_table(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = study_weight(tiny)
    monkeypatch.setattr(table, "STAGES", (*STAGES, toy_kind("subset", "synthetic")))
    shutil.copytree(undisturbed, tmp_path / "run")
    toy = stages_of(context_of(tiny, tmp_path / "run"))[-1]
    assert toy.run(unheard).startswith("made")
    assert toy.output.read_text() == "made of ['subset', 'synthetic']"
    assert toy.is_finished()
    assert study_weight(tiny) == before + tiny.replicates * 7.0


def test_a_stage_is_made_again_when_a_declared_input_changes(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    context = context_of(tiny, tmp_path / "run")
    other = study_cells(tiny, tmp_path / "run")[1]
    stages = {reads: stage_of(context, toy_kind(reads), "") for reads in ("subset", "test")}
    for reads, stage in stages.items():
        stage.run(unheard)
        shutil.copy(other.subset_file, context.cell.subset_file)
        assert stage.is_finished() == (reads == "test")


def test_every_input_of_a_stage_is_in_the_table(tiny: StudyConfig) -> None:
    for kind in STAGES:
        for variant in kind.variants(tiny, "balanced-10"):
            assert set(kind.reads(variant)) <= INPUTS.keys()


def test_gan_and_classifiers_are_given_the_subset_and_what_was_made_of_it(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the trainings receive is recorded where they begin; one image from elsewhere fails this test."""
    seen: dict[str, list[LabelledImages]] = {"gan": [], "classifier": []}
    train, fit = flows.study.stages.generator.train, flows.study.stages.arm.fit_classifier

    def recording_train(subset, *arguments, **options):  # type: ignore[no-untyped-def]
        seen["gan"].append(subset)
        return train(subset, *arguments, **options)

    def recording_fit(training, options):  # type: ignore[no-untyped-def]
        seen["classifier"] += [part for part in (training.base, training.added) if part is not None]
        return fit(training, options)

    monkeypatch.setattr("flows.study.stages.generator.train", recording_train)
    monkeypatch.setattr("flows.study.stages.arm.fit_classifier", recording_fit)
    context = context_of(tiny, tmp_path / "run")
    for stage in stages_of(context):
        if stage.kind.name != "samples" and stage.variant != "labels-x2":
            stage.run(unheard)
    subset = set(identities(read_subset(context.cell.subset_file)))
    synthetic = set(identities(read_published(context.cell.synthetic_directory)))
    (gan_saw,) = seen["gan"]
    assert set(identities(gan_saw)) == subset
    assert len(seen["classifier"]) >= len(tiny.evaluation.arms)
    assert all(set(identities(images)) <= subset | synthetic for images in seen["classifier"])


def test_arms_of_more_labels_see_the_pool_and_no_test_image(tiny: StudyConfig, tmp_path: Path) -> None:
    context = context_of(tiny, tmp_path / "run")
    test = set(identities(context.split.test))
    assert not test & set(identities(context.split.pool))
    (more,) = [kind.reads("labels-x2") for kind in STAGES if kind.name == "arm"]
    (others,) = [kind.reads("real+classical") for kind in STAGES if kind.name == "arm"]
    assert set(more) - set(others) == {"pool"}


def test_arms_without_synthetic_images_do_not_depend_on_the_generator(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    changed = tiny.model_copy(update={"gan": tiny.gan.model_copy(update={"steps": 13})})
    stages = {stage.name: stage for stage in stages_of(context_of(changed, tmp_path / "run"))}
    assert stages["arm real+classical"].is_finished()
    assert not stages["generator"].is_finished()


def test_synthetic_images_are_decoded_once_and_again_when_made_again(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    first, second = study_cells(tiny, tmp_path / "run")
    images = read_synthetic(first)
    assert read_synthetic(first) is images
    shutil.rmtree(first.synthetic_directory)
    shutil.copytree(second.synthetic_directory, first.synthetic_directory)
    assert read_synthetic(first).digest() == read_published(second.synthetic_directory).digest() != images.digest()


def test_read_error_that_may_pass_does_not_undo_a_finished_stage(
    tiny: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage: Stage = stage_of(context_of(tiny, tmp_path / "run"), toy_kind(), "")
    stage.run(unheard)
    assert stage.is_finished()

    def fail(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("flows.study.engine.digest_file", fail)
        with pytest.raises(OSError, match="Input/output"):
            stage.is_finished()
    assert stage.is_finished()
