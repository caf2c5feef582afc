"""What must not be possible: code that runs from a file, paths that lead out, servers that strangers reach."""

import ast
import inspect
import json
import os
import pickle
import shutil
from pathlib import Path

import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from data.base.device import Compute
from data.base.errors import AugmentError, CorruptFileError
from data.base.files import digest_file, read_json
from data.config import DataConfig
from data.regimes import regime_of
from flows.commands.serve import serve
from flows.runners import LOCAL_CLUSTER
from flows.server import study_server
from flows.study.config import StudyConfig, resolve_config
from flows.study.reporting import write_reports
from flows.study.run_directory import Cell, load_run_config, new_run_location, study_cells
from flows.study.running import context_of
from flows.study.stages.table import stages_of
from flows.study.verification import verify
from gan.checkpoint import load_generator

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("data", "gan", "evaluation", "flows")
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {("torch", "load"), ("np", "load"), ("numpy", "load"), ("pd", "read_pickle"), ("yaml", "load")}
FORBIDDEN_NAMES = {"eval", "exec"}


def source_files() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def unsafe_uses(file: Path) -> list[str]:
    """Return the places of a module that could turn the bytes of a file into running code."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module.split(".")[0]]
        if FORBIDDEN_MODULES & set(names):
            found.append(f"{file.name}:{node.lineno} imports {names}")
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                safe = any(
                    (word.arg, getattr(word.value, "value", None)) in {("weights_only", True), ("allow_pickle", False)}
                    for word in node.keywords
                )
                if (called.value.id, called.attr) in FORBIDDEN_CALLS and not safe:
                    found.append(f"{file.name}:{node.lineno} calls {called.value.id}.{called.attr}")
            if isinstance(called, ast.Name) and called.id in FORBIDDEN_NAMES:
                found.append(f"{file.name}:{node.lineno} calls {called.id}")
    return found


def test_no_package_can_unpickle() -> None:
    assert len(source_files()) > 50
    assert [use for file in source_files() for use in unsafe_uses(file)] == []


def test_the_search_finds_what_it_is_for(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("import pickle\ntorch.load(x)\neval('1')\ntorch.load(x, weights_only=True)\n")
    assert len(unsafe_uses(file)) == 3


class Bomb:
    """An object whose unpickling creates a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.victim),)


def test_planted_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    planted = tmp_path / "generator.safetensors"
    planted.write_bytes(pickle.dumps(Bomb(victim)))
    with pytest.raises(CorruptFileError):
        load_generator(planted)
    (tmp_path / "config.toml").write_bytes(pickle.dumps(Bomb(victim)))
    with pytest.raises(CorruptFileError):
        load_run_config(tmp_path)
    assert not victim.exists()
    pickle.loads(planted.read_bytes())  # the bomb is real
    assert victim.exists()


@pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "..", "a/../../b", "C:\\x"])
def test_data_set_names_stay_in_the_runs_directory(name: str, tmp_path: Path) -> None:
    config = StudyConfig()
    config = config.model_copy(update={"data": config.data.model_copy(update={"dataset": name})})
    location = Path(new_run_location(tmp_path / "runs", config))
    assert location.resolve().parent == (tmp_path / "runs").resolve()


@pytest.mark.parametrize(
    "assignment", ["evaluation.arms=['../../x']", "data.images_per_class=['../x']", "gan.loss=../x"]
)
def test_configuration_cannot_name_paths_of_cells(assignment: str) -> None:
    with pytest.raises(AugmentError):
        resolve_config(preset_name="quick", file=None, options={}, assignments=[assignment])


def test_stage_record_cannot_lead_out_of_its_cell(tmp_path: Path) -> None:
    cell = Cell(tmp_path / "run", regime_of(10), 0)
    (tmp_path / "secret").write_text("")
    compute = Compute(device="cpu", precision="float32")
    config = StudyConfig(replicates=1, data=DataConfig(dataset="digits", images_per_class=(10,)))
    stage = stages_of(context_of(cell, config, compute))[0]
    stage.record_file.parent.mkdir(parents=True)
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for name in ("../../../../../secret", str(tmp_path / "secret"), "a\0b", "a" * 5000):
        stage.record_file.write_text(json.dumps({"digest": stage.digest(), "outputs": {name: empty}}))
        assert not stage.is_finished()


@pytest.mark.parametrize("name", ["../../../../../secret", "{tmp_path}/secret"])
def test_files_of_a_run_cannot_make_verification_or_report_read_outside(
    name: str, tmp_path: Path, undisturbed: Path, tiny: StudyConfig
) -> None:
    (tmp_path / "secret").write_bytes((undisturbed / "config.toml").read_bytes())
    name = name.format(tmp_path=tmp_path)
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    cell = study_cells(tiny, run)[0]
    record = cell.directory / "stages" / "subset.json"
    record.write_text(json.dumps(read_json(record) | {"outputs": {name: digest_file(tmp_path / "secret")}}))
    (broken,) = (link for link in verify(run) if link.name.endswith(f"{cell.name}: outputs of stage subset"))
    assert "leads out of" in broken.detail
    provenance = cell.synthetic_directory / "provenance.json"
    described = read_json(provenance)
    described["files"][name] = digest_file(tmp_path / "secret")
    provenance.write_text(json.dumps(described))
    assert sum("leads out of" in link.detail for link in verify(run)) == 2
    history = cell.generator_directory / "history.json"
    history.write_text(json.dumps([record | {"grid": name} for record in read_json(history)]))
    with pytest.raises(CorruptFileError, match="a picture outside"):
        write_reports(run, tiny, designs=None)


@pytest.mark.slow
def test_servers_bind_to_loopback_unless_told(monkeypatch: pytest.MonkeyPatch, prefect_home: Path) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(prefect_home))
    assert inspect.signature(serve).parameters["host"].default == "127.0.0.1"
    mine = psutil.Process().children(recursive=True)
    with temporary_settings(restore_defaults={PREFECT_API_URL}), study_server():
        started = [child for child in psutil.Process().children(recursive=True) if child not in mine]
        sockets = [one.laddr.ip for child in started for one in child.net_connections("inet") if one.status == "LISTEN"]
    assert sockets
    assert set(sockets) == {"127.0.0.1"}


@pytest.mark.slow
def test_local_dask_cluster_listens_on_loopback_only() -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, **LOCAL_CLUSTER):
        sockets = [one.laddr.ip for one in psutil.Process().net_connections("inet") if one.status == "LISTEN"]
    assert sockets
    assert set(sockets) == {"127.0.0.1"}
