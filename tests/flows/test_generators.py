"""A generator of the user's own in a study: it fails, is mended, goes on, is verified and exported; and judged."""

import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from data.base import plugins
from data.base.errors import AugmentError, UsageError
from data.base.files import read_json
from data.parquet import read_published
from evaluation.reporting.report import StudyReport, read_report
from evaluation.reporting.run_files import REPORT_JSON
from flows import cli
from flows.commands import judge
from flows.commands.export import choose_generator, resolve_counts
from flows.commands.run import named_again
from flows.study.config import StudyConfig
from flows.study.generators.naming import allow_generator
from flows.study.run_directory import load_config_at
from flows.study.running import run_study
from flows.study.verification import verify

SCRIPT = """
import pathlib, sys
import numpy as np
subset, output, n = sys.argv[1:]
if not pathlib.Path("mended").exists():
    sys.exit("no luck yet")
given = np.load(subset)
rng = np.random.default_rng(0)
rows = np.concatenate([rng.choice(np.flatnonzero(given["labels"] == label), int(n)) for label in range(10)])
noise = rng.integers(0, 9, given["images"][rows].shape)
np.savez(output, images=np.minimum(given["images"][rows] + noise, 255).astype(np.uint8), labels=given["labels"][rows])
"""
COMMAND = f"command: {shlex.quote(sys.executable)} make.py {{subset_npz}} {{output}} {{num_images}}"
ARMS = ("real", "real+classical", "real+classical+synthetic")


@pytest.fixture
def study(tiny: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyConfig:
    """A study of a command that is not mended yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugins.ALLOWED, "")
    (tmp_path / "make.py").write_text(SCRIPT)
    evaluation = tiny.evaluation.model_copy(update={"arms": ARMS, "classifier_seeds": 1})
    return tiny.model_copy(update={"evaluation": evaluation, "generator": COMMAND, "replicates": 1})


@pytest.mark.slow
def test_a_command_fails_is_mended_and_goes_on(
    study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    allow_generator(COMMAND)
    with pytest.raises(AugmentError, match="failed with exit code 1; its last line: 'no luck yet'"):
        run_study(study, run)
    subset = run / "cells/balanced-10/0/subset.parquet"
    made = subset.stat().st_mtime_ns

    (tmp_path / "mended").touch()
    monkeypatch.setenv(plugins.ALLOWED, "")
    with pytest.raises(UsageError, match="does not make run here"):
        run_study(load_config_at(run), run)

    run_study(named_again(load_config_at(run), generator=COMMAND, time_limit=600.0), run)
    assert subset.stat().st_mtime_ns == made
    report = read_json(run / REPORT_JSON)
    assert report["generator"] == "make.py"
    assert "arms without make.py" in report["sentence"]
    assert [link for link in verify(run) if link.holds is False] == []
    choice = choose_generator(run=run, cell=None, generator=None)
    assert resolve_counts("balanced", num_images=None, choice=choice) == (200, (20,) * 10)
    assert read_published(run / "cells/balanced-10/0/synthetic").class_counts().tolist() == [20] * 10


def test_a_run_goes_on_with_the_generator_that_it_began_with(study: StudyConfig) -> None:
    with pytest.raises(UsageError, match="the one that it began with"):
        named_again(study, generator="pca-mixture", time_limit=None)


def test_a_ready_made_set_is_judged_in_one_command(
    tiny: StudyConfig, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_prefect(study: StudyConfig, location: str, **options: object) -> StudyReport:
        run_study(study, location)
        return read_report(Path(location) / REPORT_JSON)

    monkeypatch.setattr(judge, "run_study", without_prefect)
    quick = {
        "classifier.steps": "20",
        "classifier.width": "4",
        "classifier_seeds": "1",
        "samples.max_images": "100",
        "samples.unseen_images": "50",
        "samples.features.steps": "20",
        "samples.features.width": "4",
        "arms": str(list(ARMS)),
    }
    judged = CliRunner().invoke(
        cli.COMMANDS["judge"].load(),
        [
            *("--real", "digits", "--synthetic", str(undisturbed / "cells/balanced-10/0/synthetic")),
            *("--run-dir", str(tmp_path / "run"), "--replicates", "4"),
            *(f"--set=evaluation.{key}={value}" for key, value in quick.items()),
        ],
    )
    assert judged.exit_code == 0, judged.output
    said = " ".join(judged.output.split())
    assert "labels that classifiers of real images agree with" in said
    assert "augmentation by the set parquet:synthetic" in said
    assert "What the generator of these images saw cannot be known from them" in said
