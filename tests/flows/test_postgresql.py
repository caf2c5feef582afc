"""Prefect's database in PostgreSQL, set up by the commands of docs/operations: better than SQLite for many workers."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.base.errors import AugmentError
from flows.server import running_server
from flows.study.config import StudyConfig, to_toml
from flows.study.run_directory import study_cells
from tests.flows.test_serve import free_port
from tests.waiting import PATIENCE_SECONDS, PATIENT, wait_until

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture(scope="module")
def database() -> Iterator[int]:
    """The port of a PostgreSQL server that is set up as the page says, with `right-word` for the password."""
    if PROGRAMS is None or not (PROGRAMS / "initdb").is_file():
        pytest.skip("PostgreSQL is not installed")
    folder, port = Path(tempfile.mkdtemp(prefix="postgresql")), free_port()  # pytest closes its own to other users
    as_nobody: list[str] = []
    if os.getuid() == 0:  # PostgreSQL refuses to be run by root
        shutil.chown(folder, "nobody")
        as_nobody = ["setpriv", "--reuid", "nobody", "--clear-groups", "--"]

    def run(program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs; the local superuser needs no password, as on Debian."""
        own = {"PGHOST": str(folder), "PGPORT": str(port), "PGUSER": "postgres"}
        command = [*as_nobody, str(PROGRAMS / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", env=os.environ | own)

    data = ("--pgdata", str(folder / "data"))
    run("initdb", *data, "--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    wait = ("--wait", f"--timeout={PATIENCE_SECONDS:.0f}")
    run("pg_ctl", *data, *wait, "--log", str(folder / "log"), "--options", options, "start")
    for line in documented("sudo -u postgres "):
        run(*shlex.split(line.replace("PASSWORD 'PASSWORD'", "PASSWORD 'right-word'")))
    yield port
    run("pg_ctl", *data, *wait, "--mode=immediate", "stop")
    shutil.rmtree(folder)


def documented(beginning: str) -> list[str]:
    """Return the rests of the page's lines that begin so."""
    page = (Path(__file__).parents[2] / "docs/operations/schedules.md").read_text(encoding="utf-8")
    found = [line.removeprefix(beginning) for line in page.splitlines() if line.startswith(beginning)]
    assert found
    return found


def use(database: int, *, word: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(home))
    (url,) = documented("export PREFECT_API_DATABASE_CONNECTION_URL=")
    url = url.replace(":5432", f":{database}").replace("PASSWORD", word)
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", url)


def test_wrong_password_is_said(database: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(database, word="wrong-word", home=tmp_path, monkeypatch=monkeypatch)
    with (
        pytest.raises(AugmentError, match="password authentication failed") as caught,
        running_server(host="127.0.0.1", port=0),
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
    with running_server(host="127.0.0.1", port=0) as server:
        ran = augment(
            "run", tmp_path / "study.toml", "--run-dir", tmp_path / "run", *workers,
            environment={"PREFECT_API_URL": server.url},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        completed = {"task_runs": {"name": {"like_": "cell "}, "state": {"type": {"any_": ["COMPLETED"]}}}}
        cells = study_cells(config, tmp_path / "run")
        assert len(cells) >= 4

        def all_kept() -> bool:
            told = PATIENT.post(f"{server.url}/task_runs/filter", json=completed).json()
            return len({run["name"] for run in told}) == len(cells)

        wait_until(all_kept)  # the server keeps what it hears of tasks a while after they have ended
    assert not list(tmp_path.glob("*.db"))
