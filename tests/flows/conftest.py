"""A real Prefect server for the flow tests of a process, and the smallest study that still has every stage."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import fsspec
import pytest
from filelock import FileLock
from prefect.client.base import PrefectHttpxSyncClient
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, PREFECT_HOME, temporary_settings

from data.base.files import write_json
from data.config import DataConfig
from evaluation.config import ClassifierConfig, FeaturesConfig, SamplesConfig
from evaluation.protocol import EvaluationConfig
from flows.server import running_server
from flows.study.config import ComputeConfig, StudyConfig, to_toml
from flows.study.running import run_study
from gan.config import GanConfig, SamplingConfig
from tests.flows.reports import figures
from tests.waiting import PATIENCE_SECONDS, PATIENT

RETRIES = 8  # of a request to a busy server, the last one after four minutes; Prefect's own are 5
STARTS_FILE = "starts.json"
STARTED = """
from data.base.imports import imported_for_good
with imported_for_good():
    from flows.server import running_server
with running_server(host="127.0.0.1", port=0):
    pass
"""


@pytest.fixture(scope="session")
def made_home(shared_folder: Path) -> Path:
    """A Prefect home that servers have had before: its database has its tables, which take longer than a start.

    Two of them were the first on a fresh machine, beside each other. A file tells what each had to complain of.
    """
    home, making = shared_folder / "prefect", shared_folder / "fresh" / "home"
    with FileLock(shared_folder / "prefect.lock"):
        if not home.exists():
            shutil.rmtree(making, ignore_errors=True)
            with ExitStack() as started:
                processes = [
                    started.enter_context(
                        subprocess.Popen(
                            [sys.executable, "-c", STARTED],
                            env=os.environ | {"PREFECT_HOME": str(making)},
                            stderr=subprocess.PIPE,
                            text=True,
                        )
                    )
                    for _ in range(2)
                ]
                for process in processes:
                    started.callback(process.kill)
                told = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in processes]
            failed = [
                f"{process.returncode}: {text}" if process.returncode else ""
                for process, text in zip(processes, told, strict=True)
            ]
            assert not all(failed), failed
            write_json(making / STARTS_FILE, failed)
            making.rename(home)
    return home


@pytest.fixture
def prefect_home(made_home: Path, tmp_path: Path) -> Path:
    """A Prefect home of the test's own, as of somebody who has used it before."""
    return Path(shutil.copytree(made_home, tmp_path / "prefect"))


@contextmanager
def configured(*, home: Path, url: str) -> Iterator[None]:
    """Let flows in this process and in child processes use a server.

    It is busy: many tests write to it, and SQLite refuses at once who has read before another one wrote.
    """
    names = {"PREFECT_HOME": str(home), "PREFECT_API_URL": url, "PREFECT_CLIENT_MAX_RETRIES": str(RETRIES)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        with temporary_settings({PREFECT_API_URL: url, PREFECT_HOME: home, PREFECT_CLIENT_MAX_RETRIES: RETRIES}):
            yield


@contextmanager
def server_in(home: Path) -> Iterator[str]:
    """Run a server whose database lies in `home`; yield its URL."""
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PREFECT_HOME", str(home))
            url = running.enter_context(running_server(host="127.0.0.1", port=0)).url
        yield url


@contextmanager
def shared_server(folder: Path, *, home: Path) -> Iterator[str]:
    """Yield the URL of a server that all test processes share: the first one runs it until the others need it no more.

    A server of each process would take a minute's processor time more, and most of that while it waits.
    """
    told, users = folder / "server.url", folder / "users"
    users.mkdir(exist_ok=True)
    coming = FileLock(folder / "server.lock")

    def wait_for_others() -> None:
        with coming:
            told.unlink()
        for user in users.iterdir():
            FileLock(user).acquire().lock.release()  # free once that process is through, however it ended

    with ExitStack() as using:
        with coming:
            if told.exists():
                url = told.read_text()
                using.enter_context(FileLock(users / str(os.getpid())))
            else:
                url = using.enter_context(server_in(home))
                told.write_text(url)
                using.callback(wait_for_others)
        yield url


@pytest.fixture(scope="session")
def prefect_api(
    made_home: Path, shared_folder: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[str]:
    """The URL of a server that flows in this process and in child processes use; so do other tests at the same time."""
    home = Path(shutil.copytree(made_home, tmp_path_factory.mktemp("prefect") / "home"))
    using = ExitStack()
    pytestconfig.add_cleanup(using.close)  # waits for others, and so not in the time of the last test
    url = using.enter_context(shared_server(shared_folder, home=home))
    with configured(home=home, url=url):
        yield url


@pytest.fixture
def anybody(prefect_api: str) -> Iterator[PrefectHttpxSyncClient]:
    """Anybody who asks the shared server, which is busy, for any route: as patient as flows are, and refusals raise."""
    with PrefectHttpxSyncClient(base_url=prefect_api, timeout=PATIENCE_SECONDS) as client:
        yield client


@pytest.fixture(scope="session")
def tiny() -> StudyConfig:
    """A study of scikit-learn's digits that takes about two seconds a cell."""
    return StudyConfig(
        replicates=2,
        data=DataConfig(dataset="digits", images_per_class=(10,)),
        gan=GanConfig(
            steps=12, batch_size=16, grid_every=6, checkpoint_every=3, generator_width=8, discriminator_width=8
        ),
        sampling=SamplingConfig(images_per_class=20, shard_size=100),
        evaluation=EvaluationConfig(
            arms=("real", "real+classical", "equal-compute", "real+classical+synthetic", "synthetic", "labels-x2"),
            classifier=ClassifierConfig(steps=20, width=4),
            equal_compute=2.0,
            samples=SamplesConfig(max_images=100, unseen_images=50, features=FeaturesConfig(steps=20, width=4)),
        ),
        compute=ComputeConfig(device="cpu", precision="float32", threads=1),
    )


@pytest.fixture(scope="session")
def undisturbed(shared_folder: Path, tiny: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study's run directory, made in one go without Prefect: what every other way of running must equal.

    One test process makes it for all, and each has a copy of its own.
    """
    made = shared_folder / "undisturbed"
    with FileLock(shared_folder / "undisturbed.lock"):
        if not (made / "report.html").exists():
            run_study(tiny, made)
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("undisturbed") / "run"))


@pytest.fixture
def tiny_toml(tiny: StudyConfig, tmp_path: Path) -> Path:
    """The tiny study's configuration as a file."""
    file = tmp_path / "tiny.toml"
    file.write_text(to_toml(tiny) + '\n[runner]\nkind = "sequential"\n')
    return file


@pytest.fixture(scope="session")
def expected(prefect_api: str, undisturbed: Path) -> dict[str, object]:
    """What the report of the tiny study says, timings aside; with the server that every other way of running needs."""
    return figures(undisturbed)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of an empty bucket on an S3 server on loopback; credentials are in the environment only."""
    from moto.server import ThreadedMotoServer  # takes most of a second

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "mmAccessKeyOfTheTests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "mmSecretKeyThatNobodyMaySee")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        fsspec.get_filesystem_class("s3").clear_instance_cache()  # one may know an earlier server of this process,
        PATIENT.post(f"http://{host}:{port}/moto-api/reset").raise_for_status()  # moto has its buckets
        fsspec.filesystem("s3").mkdir("runs")
        yield "s3://runs"
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


class Augment:
    """`augment` as a user runs it: in a process of its own."""

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "flows.cli", *map(str, arguments)]

    def __call__(
        self, *arguments: str | Path, environment: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            env=os.environ | (environment or {}),
            check=False,
        )


@pytest.fixture(scope="session")
def augment() -> Augment:
    """The command line."""
    return Augment()
