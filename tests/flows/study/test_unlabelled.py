"""Studies with images without labels: who is given them, what is never among them, and the arms that must be there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.base.device import Compute
from data.base.errors import UsageError
from data.base.files import read_json
from data.decoding import encode_pngs
from data.images import digests_of, identities
from data.parquet import read_subset
from evaluation.arms import ARMS
from evaluation.classifiers import fit_classifier
from evaluation.config import ConsistencyConfig, PseudoLabelsConfig
from evaluation.training_set import TrainingSet
from flows.study import running
from flows.study.config import StudyConfig, validate_config
from flows.study.designs import resolve_study, study_source
from flows.study.engine import CellContext
from flows.study.job import unheard
from flows.study.run_directory import other_data_of, record_source, study_cells
from flows.study.stages.table import INPUTS, STAGES, stages_of

CPU = Compute(device="cpu", precision="float32")


def with_data(config: StudyConfig, **changes: object) -> StudyConfig:
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})


@pytest.fixture
def of_pool(tiny: StudyConfig) -> StudyConfig:
    """The tiny study with 40 images of the rest of the pool for each cell."""
    quick = {"pseudo_labels": PseudoLabelsConfig(rounds=1), "consistency": ConsistencyConfig(ratio=1)}
    config = tiny.model_copy(update={"evaluation": tiny.evaluation.model_copy(update=quick)})
    config = with_data(config, unlabelled="pool", max_unlabelled=40)
    return resolve_study(config, study_source(config.data))


def context_of(config: StudyConfig, directory: Path, cell: int = 0) -> CellContext:
    return running.context_of(study_cells(config, directory)[cell], config, CPU)


def test_a_study_with_images_without_labels_has_the_arms_that_use_them(tiny: StudyConfig, of_pool: StudyConfig) -> None:
    added = set(of_pool.evaluation.arms) - set(tiny.evaluation.arms)
    assert added == {arm for arm in ARMS if ARMS[arm].needs_unlabelled}
    assert resolve_study(tiny, study_source(tiny.data)).evaluation.arms == tiny.evaluation.arms


def test_other_classifiers_have_the_arms_that_they_can_be(tiny: StudyConfig) -> None:
    config = with_data(tiny, unlabelled="pool")
    changed = config.evaluation.classifier.model_copy(update={"kind": "knn"})
    config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"classifier": changed})})
    arms = resolve_study(config, study_source(config.data)).evaluation.arms
    assert "pseudo-labels" in arms
    assert "fixmatch" not in arms


def test_arms_of_images_without_labels_need_some(tiny: StudyConfig) -> None:
    tree = tiny.model_dump()
    tree["evaluation"]["arms"] = (*tiny.evaluation.arms, "fixmatch")
    with pytest.raises(UsageError, match=r"fixmatch need images without labels; name them in data\.unlabelled"):
        validate_config(tree)


def test_only_what_declares_them_is_given_images_without_labels(of_pool: StudyConfig) -> None:
    (arm,) = [kind for kind in STAGES if kind.name == "arm"]
    declared = {variant for variant in arm.variants(of_pool, "balanced-10") if "unlabelled" in arm.reads(variant)}
    assert {variant.split(" seed ")[0] for variant in declared} == {
        name for name in ARMS if ARMS[name].needs_unlabelled
    }


def test_they_are_neither_test_images_nor_the_subset_and_no_more_than_asked_for(
    of_pool: StudyConfig, tmp_path: Path
) -> None:
    context = context_of(of_pool, tmp_path / "run")
    stages_of(context)[0].run(unheard)
    found = INPUTS["unlabelled"].read(context)
    assert 0 < len(found) <= 40
    assert not set(digests_of(found.images)) & set(identities(context.split.test))
    assert not set(found.rows) & set(read_subset(context.cell.subset_file).rows)


def test_cells_get_images_of_their_own(of_pool: StudyConfig, tmp_path: Path) -> None:
    digests = []
    for cell in (0, 1):
        context = context_of(of_pool, tmp_path / "run", cell)
        stages_of(context)[0].run(unheard)
        digests.append(INPUTS["unlabelled"].digest(context))
    assert digests[0] != digests[1]


def test_arms_train_on_them_and_record_which(
    of_pool: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[TrainingSet]] = {}
    context = context_of(of_pool, tmp_path / "run")
    for stage in stages_of(context):
        if stage.name in ("subset", "policy") or stage.variant in ("pseudo-labels", "fixmatch", "real"):

            def recording(training, options, stage=stage):  # type: ignore[no-untyped-def]
                seen.setdefault(stage.variant, []).append(training)
                return fit_classifier(training, options)

            monkeypatch.setattr("flows.study.stages.arm.fit_classifier", recording)
            stage.run(unheard)
    given = INPUTS["unlabelled"].read(context)
    (consistent,) = seen["fixmatch"]
    assert consistent.consistency is not None
    assert consistent.consistency.images.digest() == given.digest()
    (self_trained,) = seen["pseudo-labels"]
    assert self_trained.added is not None
    assert set(identities(self_trained.added)) <= set(digests_of(given.images))
    records = {
        name: read_json(context.cell.directory / "stages" / f"arm {name}.json")["inputs"] for name in seen if name
    }
    assert records["fixmatch"]["unlabelled"] == records["pseudo-labels"]["unlabelled"] == given.digest()
    assert "unlabelled" not in records["real"]


def test_copies_of_test_images_in_the_pool_are_left_out(of_pool: StudyConfig, tmp_path: Path) -> None:
    context = context_of(of_pool, tmp_path / "run")
    stages_of(context)[0].run(unheard)
    usual = INPUTS["unlabelled"].read(context)
    copied = context.split.pool.take(np.flatnonzero(np.isin(context.split.pool.rows, usual.rows[:5])))
    other = replace(context, given_source=replace(context.source, test=copied))
    assert set(usual.rows) - set(INPUTS["unlabelled"].read(other).rows) == set(usual.rows[:5])


def test_a_run_knows_the_images_that_it_began_with(tiny: StudyConfig, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    sources = []
    for count in (2, 3):
        for number, content in enumerate(encode_pngs(pixels[:count])):
            (folder / f"{number}.png").write_bytes(content)
        config = with_data(tiny, unlabelled=f"folder:{folder}", max_unlabelled=100 + count)
        sources.append(study_source(config.data))
    run = tmp_path / "run"
    run.mkdir()
    record_source(run, sources[0], {}, generator="gan")
    assert other_data_of(run, sources[0]) == ""
    assert other_data_of(run, sources[1])


@pytest.fixture
def run_cell(of_pool: StudyConfig, tmp_path: Path) -> CellContext:
    """A cell of the tiny study whose generator and samples are made."""
    context = context_of(of_pool, tmp_path / "run")
    for stage in stages_of(context):
        if stage.kind.name != "arm":
            stage.run(unheard)
    return context


@pytest.mark.slow
def test_the_generator_learns_from_labels_that_a_classifier_gave(run_cell: CellContext) -> None:
    labelled = INPUTS["pseudo_labelled"].read(run_cell)
    given = INPUTS["unlabelled"].read(run_cell)
    assert 0 < len(labelled) <= len(given)
    assert set(identities(labelled)) <= set(digests_of(given.images))
    provenance = read_json(run_cell.cell.generator_directory / "provenance.json")
    assert provenance["unlabelled_images"] == len(labelled)
    assert provenance["unlabelled"] == labelled.digest()


@pytest.mark.slow
def test_samples_are_held_against_all_images_that_the_generator_saw(run_cell: CellContext) -> None:
    judged = read_json(run_cell.cell.samples_directory / "evaluation.json")
    seen = len(read_subset(run_cell.cell.subset_file)) + len(INPUTS["pseudo_labelled"].read(run_cell))
    assert judged["memorisation"]["num_training"] == seen


@pytest.mark.slow
def test_equal_compute_counts_the_labelling_too(run_cell: CellContext) -> None:
    cell = run_cell.cell
    files = [cell.generator_directory / "operations.json", cell.labelling_directory / "operations.json"]
    parts = [read_json(file)["training"] for file in files]
    assert min(parts) > 0
    assert INPUTS["operations"].read(run_cell) == sum(parts)


def test_a_study_without_them_labels_nothing(tiny: StudyConfig, tmp_path: Path) -> None:
    names = [stage.name for stage in stages_of(context_of(tiny, tmp_path / "run"))]
    assert "labelling" not in names
    assert INPUTS["pseudo_labelled"].read(context_of(tiny, tmp_path / "run")) is None
