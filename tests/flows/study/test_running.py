"""A study without Prefect that goes on, and packages that change nothing when they are imported."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.base.files import read_json, write_json
from flows.study.config import StudyConfig
from flows.study.engine import record_digest
from flows.study.running import context_of, opened_study, run_study
from flows.study.stages.table import stages_of
from flows.study.store import store_of
from tests.flows.reports import figures
from tests.waiting import PATIENCE_SECONDS

IMPORT = """
import json, os, pkgutil, importlib
before = dict(os.environ)
for room in ("data", "gan", "evaluation", "flows"):
    package = importlib.import_module(room)
    for found in pkgutil.walk_packages(package.__path__, f"{room}."):
        importlib.import_module(found.name)
names = before.keys() | os.environ.keys()
print(json.dumps(sorted(name for name in names if before.get(name) != os.environ.get(name))))
"""


@pytest.mark.long
def test_cells_in_processes_of_their_own_make_the_same_report(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path
) -> None:
    run_study(tiny, tmp_path / "run", workers=2)
    assert figures(tmp_path / "run") == figures(undisturbed)


def test_finished_study_is_reported_again_without_training(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    changed = {path: path.stat().st_mtime_ns for path in run.rglob("predictions.parquet")}
    (run / "report.json").unlink()
    assert run_study(tiny, run) == run
    assert {path: path.stat().st_mtime_ns for path in run.rglob("predictions.parquet")} == changed
    assert figures(run) == figures(undisturbed)


@pytest.fixture
def of_older_code(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the tiny study's run in which one stage was made by other code."""
    run = tmp_path / "older"
    shutil.copytree(undisturbed, run)
    file = run / "cells/balanced-10/0/stages/samples.json"
    record = read_json(file)
    depends_on = {name: record[name] for name in ("inputs", "settings", "seed", "compute", "code", "libraries")}
    depends_on["code"] = "0" * 64
    write_json(file, record | depends_on | {"digest": record_digest("samples", depends_on)})
    return run


@pytest.mark.parametrize("keep", [False, True])
def test_stages_of_other_code_are_announced_and_made_again_unless_they_are_to_be_kept(
    keep: bool, of_older_code: Path, tiny: StudyConfig
) -> None:
    with opened_study(store_of(of_older_code), tiny, keep_old_stages=keep) as study:
        told = study.other_code()
        place = study.places()[0]
        with place.opened() as here:
            context = context_of(here.cell, study.config, study.compute, keep_old_stages=here.keep_old_stages)
            unfinished = [stage.name for stage in stages_of(context) if not stage.is_finished()]
    assert told.startswith("1 of ")
    assert ("kept" if keep else "made again") in told
    assert unfinished == ([] if keep else ["samples"])


def test_each_resume_is_written_down(undisturbed: Path, tiny: StudyConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    began = read_json(run / "environment.json")
    with opened_study(store_of(run), tiny):
        pass
    now = read_json(run / "environment.json")
    number = str(len(began.get("resumed", {})) + 1)
    assert now["resumed"][number].keys() == {"created", "machine", "command", "git_commit", "processor", "versions"}
    assert {name: now[name] for name in began if name != "resumed"} == {
        name: began[name] for name in began if name != "resumed"
    }


@pytest.mark.slow
def test_importing_changes_no_environment_variable() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    printed = subprocess.run(
        [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS, env=clean
    ).stdout
    by_libraries = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "_RJEM_MALLOC_CONF", "TORCHINDUCTOR_CACHE_DIR"}
    assert set(json.loads(printed.splitlines()[-1])) <= by_libraries
