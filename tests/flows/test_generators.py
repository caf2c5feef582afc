"""A generator of the user's own from the command line: it fails, is mended, goes on, and is verified and exported."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from data.base.files import read_json
from data.parquet import read_published
from flows.study.config import StudyConfig, to_toml
from flows.study.reporting import REPORT_JSON

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


@pytest.fixture
def study(tiny: StudyConfig, tmp_path: Path) -> Path:
    evaluation = tiny.evaluation.model_copy(
        update={"arms": ("real", "real+classical", "real+classical+synthetic"), "classifier_seeds": 1}
    )
    file = tmp_path / "study.toml"
    file.write_text(to_toml(tiny.model_copy(update={"evaluation": evaluation})) + '\n[runner]\nkind = "sequential"\n')
    return file


@pytest.mark.slow
def test_a_command_fails_is_mended_and_goes_on(augment, study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    (tmp_path / "make.py").write_text(SCRIPT)
    command = f"command: {shlex.quote(sys.executable)} make.py {{subset_npz}} {{output}} {{num_images}}"
    run = tmp_path / "run"

    failed = augment("run", study, "--generator", command, "--run-dir", run, "--replicates", "1")
    assert failed.returncode == 1
    assert "failed with exit code 1; its last line: 'no luck yet'" in failed.stderr
    assert (run / "cells/balanced-10/0/subset.parquet").exists()

    (tmp_path / "mended").touch()
    unnamed = augment("run", "--resume", run)
    assert unnamed.returncode == 2
    assert "does not make run here" in unnamed.stderr

    resumed = augment("run", "--resume", run, "--generator", command, "--generator-time-limit", "600")
    assert resumed.returncode == 0, resumed.stderr
    assert "augmentation by make.py" in " ".join(resumed.stdout.split())
    assert read_json(run / REPORT_JSON)["generator"] == "make.py"

    verified = augment("verify", run)
    assert verified.returncode == 0, verified.stdout
    augment("export", "--run", run, "--output", tmp_path / "out")
    assert read_published(tmp_path / "out").class_counts().tolist() == [20] * 10


@pytest.mark.slow
def test_a_ready_made_set_is_judged_in_one_command(augment, undisturbed, tiny, tmp_path):
    made = undisturbed / "cells/balanced-10/0/synthetic"
    quick = [
        f"--set=evaluation.{key}"
        for key in (
            "classifier.steps=20",
            "classifier.width=4",
            "classifier_seeds=1",
            "samples.features.steps=20",
            "samples.features.width=4",
            'arms=["real", "real+classical", "real+classical+synthetic"]',
        )
    ]
    place = ["--run-dir", tmp_path / "run", "--replicates", "4", "--runner", "sequential"]
    judged = augment("judge", "--real", "digits", "--synthetic", made, *place, *quick)
    assert judged.returncode == 0, judged.stderr
    said = " ".join(judged.stdout.split())
    assert "labels that classifiers of real images agree with" in said
    assert "augmentation by the set parquet:synthetic" in said
    assert "what the generator of these images saw cannot be known" in said.lower()
    assert (tmp_path / "run" / "report.html").exists()
