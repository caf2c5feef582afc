"""A whole study without Prefect, and packages that change nothing when they are imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

from evaluation.reporting.report import read_report
from flows.study.config import StudyConfig
from flows.study.running import run_study
from tests.flows.reports import figures

RUN = """
import sys
from pathlib import Path
from flows.study.config import resolve_config
from flows.study.running import run_study
config = resolve_config(preset_name="quick", file=Path(sys.argv[1]), options={}, assignments=[])
run_study(config, sys.argv[2])
assert not any(name == "prefect" or name.startswith("prefect.") for name in sys.modules), "Prefect was imported"
"""
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


def test_study_without_a_server_makes_the_same_report(
    expected: dict[str, object], tiny_toml: Path, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-c", RUN, tiny_toml, tmp_path / "run"], check=True, timeout=200)
    assert figures(tmp_path / "run") == expected


def test_finished_study_is_reported_again_without_training(
    undisturbed: Path, tiny: StudyConfig, expected: dict[str, object]
) -> None:
    changed = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("predictions.parquet")}
    assert run_study(tiny, undisturbed) == undisturbed
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("predictions.parquet")} == changed
    assert read_report(undisturbed / "report.json").regimes
    assert figures(undisturbed) == expected


def test_importing_changes_no_environment_variable() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    printed = subprocess.run(
        [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True, timeout=200, env=clean
    ).stdout
    by_libraries = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "_RJEM_MALLOC_CONF", "TORCHINDUCTOR_CACHE_DIR"}
    assert set(json.loads(printed.splitlines()[-1])) <= by_libraries
