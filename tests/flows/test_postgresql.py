"""Prefect's database in PostgreSQL, which is better than SQLite for many workers; as docs/operations tells."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from data.base.errors import AugmentError
from flows.server import prefect_server
from flows.study.config import StudyConfig, to_toml
from flows.study.run_directory import study_cells
from tests.flows.test_serve import free_port
from tests.waiting import PATIENCE_SECONDS

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture(scope="module")
def database() -> Iterator[int]:
    """The port of a PostgreSQL server whose user `prefect` has the password `right-word`."""
    if PROGRAMS is None or not (PROGRAMS / "initdb").is_file():
        pytest.skip("PostgreSQL is not installed")
    folder, port = Path(tempfile.mkdtemp(prefix="postgresql")), free_port()  # pytest closes its own to other users
    (folder / "password").write_text("right-word")
    as_nobody: list[str] = []
    if os.getuid() == 0:  # PostgreSQL refuses to be run by root
        for path in (folder, folder / "password"):
            shutil.chown(path, "nobody")
        as_nobody = ["setpriv", "--reuid", "nobody", "--clear-groups", "--"]
    password = f"--pwfile={folder / 'password'}"
    make = [PROGRAMS / "initdb", "--pgdata", folder / "data", "--username=prefect", "--auth=scram-sha-256", password]
    subprocess.run([*as_nobody, *map(str, make)], check=True, capture_output=True, cwd="/")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [
        *as_nobody,
        str(PROGRAMS / "pg_ctl"),
        "--pgdata",
        str(folder / "data"),
        "--wait",
        f"--timeout={PATIENCE_SECONDS:.0f}",
    ]
    start = [*control, "--log", str(folder / "log"), "--options", options, "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd="/")
    yield port
    subprocess.run([*control, "--mode=immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    shutil.rmtree(folder)


def use(database: int, *, word: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(home))
    url = f"postgresql+asyncpg://prefect:{word}@127.0.0.1:{database}/postgres"
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", url)


def test_wrong_password_is_said(database: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(database, word="wrong-word", home=tmp_path, monkeypatch=monkeypatch)
    with (
        pytest.raises(AugmentError, match="password authentication failed") as caught,
        prefect_server(host="127.0.0.1", port=0),
    ):
        pass
    assert "correct the password in PREFECT_API_DATABASE_CONNECTION_URL" in str(caught.value)
    assert "wrong-word" not in str(caught.value)


def test_study_with_four_workers_is_kept_in_postgresql(
    database: int, augment, tiny: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(database, word="right-word", home=tmp_path, monkeypatch=monkeypatch)
    config = tiny.model_copy(update={"replicates": 4})
    (tmp_path / "study.toml").write_text(to_toml(config))
    workers = ["--runner", "processes", "--workers", "4"]
    with prefect_server(host="127.0.0.1", port=0) as api:
        ran = augment(
            "run", tmp_path / "study.toml", "--run-dir", tmp_path / "run", *workers,
            environment={"PREFECT_API_URL": api},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        cells = {"task_runs": {"name": {"like_": "cell "}, "state": {"type": {"any_": ["COMPLETED"]}}}}
        told = httpx.post(f"{api}/task_runs/filter", json=cells).json()
    assert len({run["name"] for run in told}) == len(study_cells(config, tmp_path / "run")) >= 4
    assert not list(tmp_path.glob("*.db"))
