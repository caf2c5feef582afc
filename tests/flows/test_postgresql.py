"""Prefect's database in PostgreSQL, which is better than SQLite for many workers; as docs/operations tells."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from data.base.errors import AugmentError
from flows.server import prefect_server
from tests.flows.test_serve import free_port
from tests.waiting import PATIENCE_SECONDS

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a PostgreSQL server whose user `prefect` has the password `right-word`."""
    if PROGRAMS is None or not (PROGRAMS / "initdb").is_file():
        pytest.skip("PostgreSQL is not installed")
    folder, port = tmp_path_factory.mktemp("postgresql"), free_port()
    (folder / "password").write_text("right-word")
    as_nobody: list[str] = []
    if os.getuid() == 0:  # PostgreSQL refuses to be run by root
        for path in (folder, folder / "password"):
            shutil.chown(path, "nobody")
        for parent in folder.parents:
            if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
                parent.chmod(parent.stat().st_mode | 0o011)
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


@pytest.mark.parametrize("word", ["right-word", "wrong-word"])
def test_server_keeps_its_database_in_postgresql_or_says_why_not(
    word: str, database: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    url = f"postgresql+asyncpg://prefect:{word}@127.0.0.1:{database}/postgres"
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", url)
    if word == "wrong-word":
        with (
            pytest.raises(AugmentError, match="password authentication failed") as caught,
            prefect_server(host="127.0.0.1", port=0),
        ):
            pass
        assert "correct the password in PREFECT_API_DATABASE_CONNECTION_URL" in str(caught.value)
        assert word not in str(caught.value)
        return
    with prefect_server(host="127.0.0.1", port=0) as api:
        assert httpx.post(f"{api}/flows/", json={"name": "kept"}).status_code == httpx.codes.CREATED
    assert not list(tmp_path.glob("*.db"))
