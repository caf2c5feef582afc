import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from data.base.errors import SourceUnavailableError, UsageError
from data.base.files import digest_file, write_json
from data.config import DataConfig
from data.images import LabelledImages
from data.sources.registry import Source
from evaluation.config import ClassifierConfig
from evaluation.protocol import EvaluationConfig
from flows.study.config import ComputeConfig, StudyConfig
from flows.study.designs import designs_of
from flows.study.engine import CellContext, record_digest
from flows.study.job import unheard
from flows.study.reporting import vouch_for, write_reports
from flows.study.retention import JUDGEMENT_FILE
from flows.study.run_directory import open_run, record_source, study_cells
from flows.study.running import summarise_cell
from flows.study.stages.table import stages_of
from flows.study.verification import verify
from gan.config import GanConfig, SamplingConfig

CONFIG = StudyConfig(
    replicates=1,
    data=DataConfig(dataset="digits", images_per_class=(8,)),
    gan=GanConfig(steps=2, batch_size=8, latent_dim=4, generator_width=4, discriminator_width=4),
    sampling=SamplingConfig(images_per_class=4, shard_size=6),
    evaluation=EvaluationConfig(
        arms=("real", "real+classical", "real+classical+synthetic", "real+classical+filtered"),
        classifier=ClassifierConfig(steps=2, batch_size=8, width=2),
    ),
    compute=ComputeConfig(device="cpu", precision="float32"),
)


def stripes():
    rng = np.random.default_rng(0)
    labels = np.arange(300, dtype=np.int64) % 3
    images = rng.integers(0, 60, (300, 1, 8, 8), dtype=np.uint8)
    images[labels == 0, :, ::2] += 180
    images[labels == 1, :, :, ::2] += 180
    both = LabelledImages(images=images, labels=labels, rows=np.arange(300), class_names=("rows", "columns", "none"))
    return Source(name="stripes", train=both.take(np.arange(240)), test=both.take(np.arange(240, 300)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory, source = tmp_path_factory.mktemp("runs") / "run", stripes()
    with open_run(directory, CONFIG) as compute:
        (cell,) = study_cells(CONFIG, directory)
        designs = designs_of(CONFIG, source)
        record_source(directory, source, designs, generator="gan")
        context = CellContext(cell=cell, config=CONFIG, compute=compute, given_source=source, given_designs=designs)
        for stage in stages_of(context):
            stage.run(unheard)
        summarise_cell(cell, CONFIG)
        write_reports(directory, CONFIG, designs=designs)
    return directory


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def cell_of(run):
    return run / "cells" / "balanced-8" / "0"


def broken(run, source=None):
    links = list(verify(run, load=lambda name: source or stripes()))
    return [link.name for link in links if link.holds is False]


def test_untouched_run_holds(run):
    links = list(verify(run, load=lambda name: stripes()))
    assert all(link.holds for link in links)
    assert len(links) > 15


def test_every_changed_byte_is_found(finished, tmp_path):
    files = [
        path.relative_to(finished)
        for path in sorted((finished / "cells").rglob("*"))
        if path.is_file() and path.parent.name != "stages" and not path.name.startswith(".")
    ]
    assert len(files) > 8
    for name in files:
        copy = tmp_path / "copy"
        shutil.copytree(finished, copy)
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        assert broken(copy), f"a changed byte in {name} was not found"
        shutil.rmtree(copy)


def test_swapped_checkpoint_is_found(run):
    path = cell_of(run) / "generator" / "generator.safetensors"
    save_file({name: torch.zeros_like(value) for name, value in load_file(path).items()}, path)
    names = broken(run)
    assert "balanced-8/0: generator's provenance" in names
    assert "balanced-8/0: data set ← generator beside it" in names


def test_edited_metric_is_found(run):
    path = cell_of(run) / "cell.json"
    summary = json.loads(path.read_text())
    summary["metrics"]["real"]["accuracy"] += 0.001
    path.write_text(json.dumps(summary))
    assert broken(run) == ["balanced-8/0: cell.json = its predictions", "report.json = its cells"]


def test_removed_file_is_found(run):
    (cell_of(run) / "arms" / "real" / "predictions.parquet").unlink()
    assert "balanced-8/0: predictions of real = test rows" in broken(run)


def test_added_shard_is_found(run):
    shards = sorted((cell_of(run) / "synthetic" / "data").iterdir())
    shutil.copy(shards[0], shards[0].with_name("train-99999-of-00002.parquet"))
    assert "balanced-8/0: data set's files" in broken(run)


def test_edited_stage_record_is_found(run):
    path = cell_of(run) / "stages" / "generator.json"
    record = json.loads(path.read_text())
    record["seed"] = 99
    path.write_text(json.dumps(record))
    assert "balanced-8/0: stage generator ← subset, pseudo_labelled, policy, origin, settings" in broken(run)


@pytest.mark.parametrize(
    ("part", "key", "value"), [("libraries", "torch", "0.1"), ("compute", "precision", "bfloat16")]
)
def test_stage_that_was_made_otherwise_is_found(finished, tmp_path, part, key, value):
    shutil.copytree(finished, tmp_path / "run")
    path = cell_of(tmp_path / "run") / "stages" / "arm real.json"
    record = json.loads(path.read_text())
    record[part][key] = value
    depends_on = {name: record[name] for name in ("inputs", "settings", "seed", "compute", "code", "libraries")}
    path.write_text(json.dumps(record | {"digest": record_digest("arm real", depends_on)}))
    assert broken(tmp_path / "run") == ["all stages arm are of one code"]


def test_other_source_is_found(run):
    source = stripes()
    changed = source.train.images.copy()
    changed[:, 0, 0, 0] ^= 1
    train = LabelledImages(
        images=changed, labels=source.train.labels, rows=source.train.rows, class_names=source.train.class_names
    )
    names = broken(run, Source(name="stripes", train=train, test=source.test))
    assert names[:3] == [
        "dataset.json = source",
        "balanced-8/0: subset = its source rows",
        "balanced-8/0: stage subset ← pool, settings",
    ]


def test_source_that_cannot_be_loaded_is_a_link_that_does_not_hold(run):
    def load(name):
        raise SourceUnavailableError("no network")

    *others, last = sorted(verify(run, load=load), key=lambda link: not link.holds)
    assert (last.holds, last.detail) == (False, "no network")
    assert all(link.holds for link in others)


def test_data_set_alone_holds_and_tells_what_is_missing(run, tmp_path):
    shutil.copytree(cell_of(run) / "synthetic", tmp_path / "alone")
    links = list(verify(tmp_path / "alone"))
    assert [link.holds for link in links] == [True, True, None]


def test_samples_of_another_generator_are_found(run):
    shard = sorted((cell_of(run) / "synthetic" / "data").iterdir())[0]
    table = pq.read_table(shard)
    column = table.schema.get_field_index("generator")
    pq.write_table(table.set_column(column, "generator", [["0" * 64] * len(table)]), shard)
    assert {"balanced-8/0: data set's files", "balanced-8/0: samples name their generator"} <= set(broken(run))


def test_edited_report_is_found(run):
    path = run / "report.json"
    report = json.loads(path.read_text())
    report["regimes"][0]["headline"]["mean"] += 0.01
    path.write_text(json.dumps(report))
    assert broken(run) == ["report.json = its cells"]


@pytest.mark.parametrize(
    "name", ["dataset.json", "environment.json", "looks.json", "report.digests.json", "report.html", "report.json"]
)
def test_what_the_run_says_beside_its_cells_is_missed(run, name):
    (run / name).unlink()
    assert broken(run)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("looks.json", '"replicates": 1', '"replicates": 2'),
        ("report.html", "</title>", "!</title>"),
        ("environment.json", '"torch": "', '"torch": "9'),
    ],
)
def test_edited_words_about_the_run_are_found(run, name, old, new):
    text = (run / name).read_text()
    assert old in text
    (run / name).write_text(text.replace(old, new))
    assert broken(run)


def test_edited_judgement_is_found(run):
    write_json(run / JUDGEMENT_FILE, {"base": "before", "regressions": ["worse"]})
    vouch_for(run, {JUDGEMENT_FILE: digest_file(run / JUDGEMENT_FILE)})
    write_reports(run, CONFIG, designs=None)
    assert broken(run) == []
    write_json(run / JUDGEMENT_FILE, {"base": "before", "regressions": []})
    assert broken(run) == ["report.html, and any judgement, as written"]


def test_edited_decision_of_a_stage_is_found(run):
    path = cell_of(run) / "stages" / "arm real.json"
    record = json.loads(path.read_text())
    record["resolved"]["training"]["classifier"]["steps"] += 1
    path.write_text(json.dumps(record))
    assert broken(run) == ["balanced-8/0: stage arm real ← subset, test, beside, settings"]


def test_run_that_went_on_and_has_not_reported_yet_holds(run):
    with open_run(run, CONFIG):
        pass
    assert "resumed" in json.loads((run / "environment.json").read_text())
    assert broken(run) == []


def test_something_else_is_refused(tmp_path):
    with pytest.raises(UsageError, match="neither a run directory"):
        verify(Path(tmp_path))
