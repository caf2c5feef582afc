import numpy as np
import pyarrow.dataset
import pytest
import torch
import typer
from typer.testing import CliRunner

from data.base.errors import UsageError
from data.base.files import write_json, write_text
from data.base.limits import LimitError
from data.config import DataConfig
from data.parquet import read_published, write_subset
from data.sources.registry import cache_directory
from evaluation.config import ClassifierConfig
from evaluation.policy import PolicyChoice
from evaluation.protocol import EvaluationConfig
from flows.commands.export import choose_generator, export, resolve_counts
from flows.commands.serve import located
from flows.server import server_home
from flows.study.config import StudyConfig, to_toml
from flows.study.run_directory import POLICY_FILE
from gan.checkpoint import GENERATOR_FILE, save_generator
from gan.config import GanConfig
from gan.networks import Generator, GeneratorEnsemble, initialise_dcgan

app = typer.Typer()
app.command()(export)


def write_generator(directory, class_names):
    config = GanConfig(generator_width=4, latent_dim=8)
    generator = Generator(config, image_shape=(1, 8, 8), num_classes=len(class_names))
    initialise_dcgan(generator, config=config, rng=torch.Generator().manual_seed(0))
    ensemble = GeneratorEnsemble([generator])
    save_generator(directory / GENERATOR_FILE, ensemble, config=config, image_shape=(1, 8, 8), class_names=class_names)
    write_json(directory / "provenance.json", {"source": "stripes"})


@pytest.fixture
def run(tmp_path, striped):
    """A run directory with two regimes of two replicates, classifier quick to train."""
    config = StudyConfig(
        data=DataConfig(images_per_class=(5, 10)),
        evaluation=EvaluationConfig(classifier=ClassifierConfig(kind="knn")),
    )
    write_text(tmp_path / "run" / "config.toml", to_toml(config))
    for regime, count in (("balanced-5", 15), ("balanced-10", 30)):
        for replicate in range(2):
            cell = tmp_path / "run" / "cells" / regime / str(replicate)
            write_generator(cell / "generator", striped.class_names)
            write_subset(cell / "subset.parquet", striped.take(np.arange(count)))
            write_json(cell / POLICY_FILE, PolicyChoice(policy="digits", reason="").model_dump(mode="json"))
    return tmp_path / "run"


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_regime_with_most_data_is_taken_and_named(run, tmp_path):
    result = invoke("--run", run, "--num-images", 30, "--output", tmp_path / "out")
    assert "generator of cell balanced-10/0" in result.output
    assert "30 images in" in result.output
    assert read_published(tmp_path / "out").class_counts().tolist() == [10, 10, 10]


def test_another_cell(run):
    assert choose_generator(run=run, cell="balanced-5/1", generator=None).directory == (
        run / "cells" / "balanced-5" / "1" / "generator"
    )


@pytest.mark.parametrize("cell", ["balanced-7/0", "../../etc", ""])
def test_no_such_cell(run, cell):
    with pytest.raises(UsageError, match=r"it has balanced-10/0, balanced-10/1, balanced-5/0"):
        choose_generator(run=run, cell=cell, generator=None)


def test_a_run_without_generators(tmp_path):
    with pytest.raises(UsageError, match="holds no trained generator"):
        choose_generator(run=tmp_path, cell=None, generator=None)


@pytest.mark.parametrize("both", [True, False])
def test_either_a_run_or_a_generator(run, both):
    place = run if both else None
    with pytest.raises(UsageError, match="either --run RUN or --generator DIR"):
        choose_generator(run=place, cell=None, generator=place)


def test_a_generator_directory(run, tmp_path):
    invoke("--generator", run / "cells/balanced-5/0/generator", "--num-images", 6, "--output", tmp_path / "out")
    assert len(read_published(tmp_path / "out")) == 6


def test_real_images_and_the_confidence_of_a_classifier(run, tmp_path):
    options = ("--num-images", 12, "--mix-real", "--min-confidence", 0, "--workers", 2)
    invoke("--run", run, "--output", tmp_path / "out", *options)
    rows = pyarrow.dataset.dataset(tmp_path / "out" / "data").to_table()
    assert rows["synthetic"].to_pylist().count(False) == 30
    assert rows["confidence"].null_count == 30


def test_a_confidence_needs_a_run(run, tmp_path):
    with pytest.raises(UsageError, match="give --run"):
        invoke("--generator", run / "cells/balanced-5/0/generator", "--min-confidence", 0.5, "--output", tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("text", "num_images", "expected"),
    [
        ("balanced", None, (10_000, None)),
        ("balanced", 7, (7, None)),
        ("as-real", 9, (9, (3, 3, 3))),
        ("4,0,2", None, (6, (4, 0, 2))),
        ("none=5, rows=1", 6, (6, (1, 0, 5))),
        ("none = 5, rows =1", 6, (6, (1, 0, 5))),
    ],
)
def test_distributions(run, text, num_images, expected):
    choice = choose_generator(run=run, cell=None, generator=None)
    counts = resolve_counts(text, num_images=num_images, choice=choice)
    assert counts == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("even", "'even' holds no count"),
        ("1,2", "2 counts for 3 classes"),
        ("cat=3", "no class 'cat'"),
        ("rows=-3", "holds no count"),
        ("rows=3,none=1,rows=4", "the class 'rows' is given twice"),
        ("4,rows=3,none=1", "the class 'rows' is given twice"),
        ("1,2,3", "add up to 6, --num-images says 7"),
    ],
)
def test_distributions_that_do_not_fit(run, text, message):
    choice = choose_generator(run=run, cell=None, generator=None)
    with pytest.raises(UsageError, match=message):
        resolve_counts(text, num_images=7, choice=choice)


def test_more_images_than_a_set_may_have_are_told(run):
    choice = choose_generator(run=run, cell=None, generator=None)
    with pytest.raises(LimitError, match="the limit is 100,000,000"):
        resolve_counts("as-real", num_images=10**23, choice=choice)


def test_home_is_spelled_out_where_no_shell_does(run, tmp_path, monkeypatch):
    """As in --output=~/out, and in the environment of a service."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("AUGMENT_DATA", "~/data")
    monkeypatch.setenv("PREFECT_HOME", "~/prefect")
    invoke("--run", run, "--num-images", 3, "--output", "~/out")
    assert read_published(tmp_path / "home" / "out").class_counts().tolist() == [1, 1, 1]
    assert cache_directory() == tmp_path / "home" / "data"
    assert server_home() == tmp_path / "home" / "prefect"
    assert located("~/runs") == str(tmp_path / "home" / "runs")
    assert not (tmp_path / "~").exists()
