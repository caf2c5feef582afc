"""A study without Prefect that goes on, and packages that change nothing when they are imported."""

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import torch

from data.base.errors import AugmentError
from data.base.files import read_json, write_json
from flows.study.config import StudyConfig, to_toml
from flows.study.engine import record_digest
from flows.study.running import context_of, opened_study, run_study
from flows.study.stages.table import stages_of
from flows.study.store import store_of
from tests.flows.reports import figures
from tests.waiting import PATIENCE_SECONDS, wait_until

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

IN_TWO_PROCESSES = """
import sys
from flows.study.config import StudyConfig
from flows.study.running import run_study
run_study(StudyConfig.model_validate_json(sys.argv[1]), sys.argv[2], workers=2)
"""


@pytest.mark.long
def test_cells_in_processes_of_their_own_make_the_same_report(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path
) -> None:
    run_study(tiny, tmp_path / "run", workers=2)
    assert figures(tmp_path / "run") == figures(undisturbed)


@pytest.mark.long
def test_workers_end_with_the_process_of_their_study_however_it_ends(tiny: StudyConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", IN_TWO_PROCESSES, tiny.model_dump_json(), str(run)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as study:
        wait_until(lambda: len(list(run.glob("cells/*/*/stages/*.json"))) > 2)
        writers = psutil.Process(study.pid).children(recursive=True)
        study.kill()
    wait_until(lambda: not any(writer.is_running() for writer in writers))


@pytest.mark.long
def test_lost_worker_ends_the_study_with_one_line_and_the_other_workers_with_it(
    tiny: StudyConfig, tmp_path: Path, undisturbed: Path
) -> None:
    def kill_one() -> None:
        wait_until(lambda: list((tmp_path / "run").glob("cells/*/*/stages/*.json")))
        multiprocessing.active_children()[0].kill()

    with ThreadPoolExecutor(1) as killer:
        killer.submit(kill_one)
        with pytest.raises(AugmentError, match=r"^a worker process was lost.*$"):
            run_study(tiny, tmp_path / "run", workers=2)
    assert multiprocessing.active_children() == []
    run_study(tiny, tmp_path / "run")
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


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "2.00 GiB"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), "tried 9 bytes"),
        (MemoryError("Unable to allocate 8.00 PiB"), "8.00 PiB"),
    ],
)
def test_a_cell_without_enough_memory_ends_with_one_line_and_the_study_goes_on_afterwards(
    failure: Exception, said: str, undisturbed: Path, tiny: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise failure

    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    (run / "report.json").unlink()
    (run / "cells/balanced-10/1/stages/arm real.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("flows.study.stages.arm.fit_classifier", fails)
        with pytest.raises(AugmentError, match=f"balanced-10/1 arm real: not enough memory .*{said}.*--workers"):
            run_study(tiny, run)
    run_study(tiny, run)
    assert figures(run) == figures(undisturbed)


def test_other_failures_of_a_library_keep_their_traceback(
    undisturbed: Path, tiny: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    (run / "cells/balanced-10/1/stages/arm real.json").unlink()
    monkeypatch.setattr("flows.study.stages.arm.fit_classifier", fails)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run_study(tiny, run)


OTHERWISE = {
    "other code": {"code": "0" * 64},
    "other versions of libraries": {"libraries": {"torch": "1.0"}},
    "another device or precision": {"compute": {"device": "cpu", "precision": "bfloat16"}},
}


@pytest.fixture(params=OTHERWISE)
def made_otherwise(request: pytest.FixtureRequest, undisturbed: Path, tmp_path: Path) -> tuple[Path, str]:
    """A copy of the tiny study's run in which one stage was made by something else, and what that was."""
    run = tmp_path / "older"
    shutil.copytree(undisturbed, run)
    file = run / "cells/balanced-10/0/stages/samples.json"
    record = read_json(file)
    depends_on = {name: record[name] for name in ("inputs", "settings", "seed", "compute", "code", "libraries")}
    depends_on |= OTHERWISE[request.param]
    write_json(file, record | depends_on | {"digest": record_digest("samples", depends_on)})
    return run, request.param


@pytest.mark.parametrize("keep", [False, True])
def test_stages_made_otherwise_are_announced_and_made_again_unless_they_are_to_be_kept(
    keep: bool, made_otherwise: tuple[Path, str], tiny: StudyConfig
) -> None:
    run, by = made_otherwise
    with opened_study(store_of(run), tiny, keep_old_stages=keep) as study:
        told = study.differences()
        place = study.places()[0]
        with place.opened() as here:
            context = context_of(here.cell, study.config, study.compute, keep_old_stages=here.keep_old_stages)
            unfinished = [stage.name for stage in stages_of(context) if not stage.is_finished()]
    assert re.fullmatch(rf"1 of \d+ stages was made by {by} and are .*", told)
    assert ("kept" if keep else "made again") in told
    assert unfinished == ([] if keep else ["samples"])


@pytest.mark.parametrize(("threads", "before", "told"), [(0, 3, True), (0, None, False), (1, 3, False)])
def test_run_of_all_cores_says_where_there_are_others(
    threads: int, before: int | None, told: bool, undisturbed: Path, tiny: StudyConfig, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    config = tiny.model_copy(update={"compute": tiny.compute.model_copy(update={"threads": threads})})
    (run / "config.toml").write_text(to_toml(config))
    began = read_json(run / "environment.json")
    count = torch.get_num_threads() if before is None else before + torch.get_num_threads()
    write_json(run / "environment.json", began | {"compute": began["compute"] | {"threads": count}})
    with opened_study(store_of(run), config) as study:
        assert ("figures may differ in their last digits" in study.differences()) is told


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


@pytest.mark.slow
def test_a_study_imports_no_library_that_takes_seconds_and_that_few_need():
    code = (
        "import sys; import flows.study.running; from data.config import DeformationConfig; "
        "from data.policies import policy_of; policy_of('natural', digits=DeformationConfig()); "
        "print({'torchvision', 'torchmetrics'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"
