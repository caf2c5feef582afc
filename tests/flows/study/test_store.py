"""Runs that lie in an object store: shared by workers that share nothing else, owned by one study, free of secrets."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import fsspec
import pytest
from httpx import Response
from prefect.client.base import PrefectHttpxSyncClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from typer.testing import CliRunner

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.files import read_json
from evaluation.reporting.report import read_report
from flows import cli
from flows.augmentation_study import augmentation_study
from flows.commands.compare import named_reports
from flows.commands.history import history
from flows.commands.report import report
from flows.commands.verify import verify
from flows.schedule import augmentation_export
from flows.study.config import StudyConfig
from flows.study.retrying import StoreError, may_pass
from flows.study.scratch import scratch_folder, sweep_scratch
from flows.study.store import OWNER_FILE, STALE_SECONDS, RunStore, life_of, redact, store_of
from tests.flows.reports import figures
from tests.waiting import PATIENCE_SECONDS, wait_until, with_own


@pytest.fixture(scope="module")
def secret(bucket: str) -> str:
    """What nobody may see of the store."""
    return os.environ["AWS_SECRET_ACCESS_KEY"]


def test_files_come_back_as_they_were_pushed(bucket: str, tmp_path: Path) -> None:
    store = RunStore(f"{bucket}/round")
    (tmp_path / "a/cells/x").mkdir(parents=True)
    (tmp_path / "a/cells/x/f.bin").write_bytes(b"\x00\x01")
    store.push(tmp_path / "a", [tmp_path / "a/cells/x/f.bin"])
    store.pull_folder(tmp_path / "b", "cells")
    assert (tmp_path / "b/cells/x/f.bin").read_bytes() == b"\x00\x01"
    assert store.exists()
    assert not RunStore(f"{bucket}/absent").exists()


def test_runs_are_listed(bucket: str, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / "config.toml").write_text("")
        RunStore(f"{bucket}/many/{name}").push(tmp_path, [tmp_path / "config.toml"])
    assert RunStore(f"{bucket}/many").run_names() == ["first", "second"]
    assert RunStore(f"{bucket}/none").run_names() == []


def test_stage_leaves_nothing_of_an_older_attempt(bucket: str, tmp_path: Path) -> None:
    store, cell = RunStore(f"{bucket}/stages"), tmp_path / "cells/r/0"
    (cell / "synthetic").mkdir(parents=True)
    (cell / "stages").mkdir()
    record = cell / "stages/synthetic.json"
    record.write_text("{}")
    for names in (("old", "kept"), ("kept", "new")):
        outputs = [cell / "synthetic" / name for name in names]
        for path in outputs:
            path.write_text(path.name)
        store.push_stage(tmp_path, outputs=outputs, record=record, keep=cell)
    store.pull_folder(tmp_path / "back", "cells")
    assert sorted(path.name for path in (tmp_path / "back").rglob("*") if path.is_file()) == [
        "kept",
        "new",
        "synthetic.json",
    ]


def test_bucket_that_does_not_exist_is_named_and_not_made(bucket: str, tiny: StudyConfig, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    store = RunStore("s3://rnus/first")
    refused = pytest.raises(UsageError, match=r"there is no bucket s3://rnus; make it, or correct s3://rnus/first")
    with refused, store.owned():
        pass
    with pytest.raises(StoreError):
        store.push(tmp_path, [tmp_path / "config.toml"])
    assert not fsspec.filesystem("s3").exists("rnus")


def test_scratch_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = (
        "import time\nfrom flows.study.scratch import scratch_folder\n"
        "with scratch_folder() as folder:\n    print(folder, flush=True)\n    time.sleep(600)"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        sweep_scratch()
        assert folder.is_dir()
        process.kill()
        process.wait()
    sweep_scratch()
    assert list(tmp_path.iterdir()) == []


def test_scratch_of_this_process_is_removed_where_it_ends_at_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder():
        sweep_scratch(of_this_process=True)
        assert list(tmp_path.iterdir()) == []


def test_commands_take_the_urls_of_runs(
    bucket: str, undisturbed: Path, tmp_path: Path, prefect_api: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RunStore(f"{bucket}/all/finished")
    files = [path for path in undisturbed.rglob("*") if path.is_file() and not path.name.startswith(".")]
    store.push(undisturbed, [path for path in files if not path.name.startswith("report.")])
    report(store.location)
    verify(store.location, quiet=True)
    history(f"{bucket}/all")
    printed = capsys.readouterr().out
    assert " 0 do not" in printed
    assert "s3://runs/all/index.html" in printed
    assert "augment-scratch" not in printed
    (same,) = named_reports([store.location], page=tmp_path / "page.html")
    assert (same.name, same.link) == ("finished", "s3://runs/all/finished/report.html")
    assert same.report.regimes == read_report(undisturbed / "report.json").regimes
    command = ["export", "--run", store.location, "--output", str(tmp_path / "data"), "--num-images", "20"]
    assert CliRunner().invoke(cli.app, command).exit_code == 0
    assert (tmp_path / "data" / "provenance.json").is_file()


def test_second_owner_is_refused(bucket: str) -> None:
    store = RunStore(f"{bucket}/owned")
    with store.owned():
        with pytest.raises(AugmentError, match="another process is working in s3://runs/owned"), store.owned():
            pass
        assert fsspec.filesystem("s3").exists(f"runs/owned/{OWNER_FILE}")
    with store.owned():  # free again
        pass


def test_dead_owner_is_replaced(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.study.store.WATCH_SECONDS", 0.1)
    monkeypatch.setattr("flows.study.store.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("flows.study.store.SETTLE_SECONDS", 0.0)
    dead = {"token": "x", "host": "gone", "process": 1, "alive": time.time() - STALE_SECONDS - 1}
    fsspec.filesystem("s3").pipe_file(f"runs/dead/{OWNER_FILE}", json.dumps(dead).encode())
    with RunStore(f"{bucket}/dead").owned():
        found = json.loads(fsspec.filesystem("s3").cat_file(f"runs/dead/{OWNER_FILE}"))
    assert found["process"] == os.getpid()


def test_dead_owner_of_this_machine_is_replaced_at_once_and_a_live_one_is_not(bucket: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        life = life_of(process.pid)
        owner = {"token": "z", "host": "here", "process": process.pid, "alive": time.time(), "life": life}
        fsspec.filesystem("s3").pipe_file(f"runs/killed/{OWNER_FILE}", json.dumps(owner).encode())
        refused = pytest.raises(AugmentError, match="another process is working in")
        with refused, RunStore(f"{bucket}/killed").owned():
            pass
        process.kill()
        process.wait()
    with RunStore(f"{bucket}/killed").owned():
        found = json.loads(fsspec.filesystem("s3").cat_file(f"runs/killed/{OWNER_FILE}"))
    assert found["life"] == life_of(os.getpid()) != ""


@pytest.mark.parametrize("life", ["", "boot 1 2", "{boot} {namespace} 999999999999 5 6", "other-boot {namespace} 1 5"])
def test_owner_who_may_be_elsewhere_is_not_taken_for_dead(life: str, bucket: str) -> None:
    boot, namespace, *_ = life_of(os.getpid()).split()
    life = life.format(boot=boot, namespace=namespace)
    owner = {"token": "z", "host": "elsewhere", "process": 1, "alive": time.time(), "life": life}
    fsspec.filesystem("s3").pipe_file(f"runs/elsewhere/{OWNER_FILE}", json.dumps(owner).encode())
    refused = pytest.raises(AugmentError, match="another process is working in")
    with refused, RunStore(f"{bucket}/elsewhere").owned():
        pass


@pytest.mark.parametrize("minutes", [-10, 10])
def test_live_owner_whose_clock_is_wrong_is_not_replaced(
    minutes: int, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"token": "y", "host": "elsewhere", "process": 1, "alive": time.time() + 60 * minutes}

    def beat(seconds: float = 0.0) -> None:
        there["alive"] += 1
        fsspec.filesystem("s3").pipe_file(f"runs/wrong{minutes}/{OWNER_FILE}", json.dumps(there).encode())

    beat()
    monkeypatch.setattr("flows.study.store.time", with_own(time, sleep=beat))
    refused = pytest.raises(AugmentError, match="another process is working in")
    with refused, RunStore(f"{bucket}/wrong{minutes}").owned():
        pass


@pytest.mark.parametrize(
    "url", ["s3://AKIA:hunter2@bucket/run", "s3://bucket/run?secret=hunter2", "https://user:hunter2@host/x"]
)
def test_credentials_in_a_url_are_refused_unseen(url: str) -> None:
    with pytest.raises(UsageError, match="holds no credentials") as caught:
        RunStore(url)
    assert "hunter2" not in str(caught.value)


def test_unknown_protocol_is_named() -> None:
    with pytest.raises(UsageError, match="cannot use nowhere://"):
        RunStore("nowhere://bucket/run")


@pytest.mark.parametrize("location", ["memory://run", "simplecache::memory://run"])
def test_a_place_that_ends_with_this_process_is_refused(location: str) -> None:
    with pytest.raises(UsageError, match="ends with this process, and the run with it"):
        store_of(location)


def test_unreachable_store_is_one_line_without_secrets(
    bucket: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ConnectionError(f"signed with {secret}\nfailed")

    monkeypatch.setattr("fsspec.core.url_to_fs", fail)
    with pytest.raises(StoreError, match=r"signed with \*\*\* failed") as caught:
        RunStore(f"{bucket}/x").exists()
    assert caught.value.__suppress_context__


def test_names_that_lead_out_are_refused(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/evil/cells/x", b"")
    store = RunStore("memory://evil")
    original = files.find
    try:
        type(files).find = lambda self, path, **options: ["/evil/../../outside"]
        with pytest.raises(CorruptFileError, match="leads out"):
            store.pull_folder(tmp_path / "deep/er", "cells")
    finally:
        type(files).find = original.__func__
    assert not (tmp_path / "outside").exists()


def test_export_reads_the_generator_of_a_run_in_a_store(
    bucket: str, undisturbed: Path, tmp_path: Path, prefect_api: str
) -> None:
    store, cell = RunStore(f"{bucket}/finished"), undisturbed / "cells/balanced-10/0"
    store.push(undisturbed, [path for path in (cell / "generator").rglob("*") if path.is_file()])
    url = f"{store.location}/cells/balanced-10/0/generator"
    assert augmentation_export(url, tmp_path / "far", num_images=30) == tmp_path / "far"
    augmentation_export(cell / "generator", tmp_path / "near", num_images=30)
    assert read_json(tmp_path / "far/provenance.json") == read_json(tmp_path / "near/provenance.json")
    with pytest.raises(CorruptFileError, match=r"s3://runs/finished/cells/none/generator"):
        augmentation_export(f"{store.location}/cells/none/generator", tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MY_TOKEN", "abcd-efgh"),
        ("MY_TOKEN_WRITE", "abcd-efgh"),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=me;AccountKey=abcd-efgh;EndpointSuffix=inside"),
        ("FSSPEC_S3", '{"endpoint_url": "http://inside", "client_kwargs": {"aws_secret_access_key": "abcd-efgh"}}'),
        ("AWS_ENDPOINT_URL_S3", "https://somebody:abcd-efgh@inside:9000"),
    ],
)
def test_secrets_of_the_environment_are_redacted(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert redact("with abcd-efgh inside") == "with *** inside"


def test_ordinary_words_of_the_environment_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    assert redact("--set gan.differentiable_augmentation=false") == "--set gan.differentiable_augmentation=false"


def test_owner_whose_record_was_written_but_not_confirmed_goes_on(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = RunStore(f"{bucket}/unconfirmed"), []
    owner = RunStore._owner

    def away_at_first(store: RunStore) -> dict[str, object]:
        asked.append(True)
        if len(asked) == 1:
            raise StoreError("the store is away for a moment")
        return owner(store)

    monkeypatch.setattr(RunStore, "_owner", away_at_first)
    monkeypatch.setattr("flows.study.retrying.RETRY_SECONDS", (0.0, 0.0))
    with store.owned():
        assert fsspec.filesystem("s3").exists(f"runs/unconfirmed/{OWNER_FILE}")
    assert len(asked) > 1
    assert not fsspec.filesystem("s3").exists(f"runs/unconfirmed/{OWNER_FILE}")


def test_passwords_in_urls_are_redacted() -> None:
    assert redact("no answer from http://me:my-word@proxy:80/x") == "no answer from http://***@proxy:80/x"


def test_full_disk_of_this_machine_is_not_taken_for_a_failing_store(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunStore, "_download", full)
    with pytest.raises(AugmentError, match="No space left") as caught:
        RunStore(f"{bucket}/full").pull(tmp_path, ["config.toml"])
    assert not may_pass(caught.value)


def test_of_two_that_replace_a_dead_owner_one_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, dead = RunStore(f"{bucket}/raced"), {"token": "dead", "alive": 0}
    files = fsspec.filesystem("s3")
    files.pipe_file(f"{store.location}/{OWNER_FILE}", json.dumps(dead).encode())

    def other_takes_it(seconds: float) -> None:
        files.pipe_file(f"{store.location}/{OWNER_FILE}", json.dumps({"token": "other", "alive": time.time()}).encode())

    monkeypatch.setattr("flows.study.store.WATCH_SECONDS", 0.0)
    monkeypatch.setattr("flows.study.store.time", with_own(time, sleep=other_takes_it))
    with pytest.raises(AugmentError, match="just started"), store.owned():
        pass


def told_to_the_server(anybody: PrefectHttpxSyncClient, *, location: str) -> Iterator[str]:
    """Yield what the server holds of the study at a place: its run with parameters, task runs, log lines, artifacts."""

    def ask(kind: str, query: dict[str, object]) -> Response:
        return anybody.post(f"/{kind}/filter", json=query)

    newest = ask("flow_runs", {"sort": "START_TIME_DESC", "flows": {"name": {"any_": ["augmentation_study"]}}}).json()
    (run,) = (each for each in newest if each["parameters"]["run_directory"] == location)  # others' are there too
    yield json.dumps(run)
    for kind, query in {
        "task_runs": {"flow_runs": {"id": {"any_": [run["id"]]}}},
        "logs": {"logs": {"flow_run_id": {"any_": [run["id"]]}}},
        "artifacts": {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}},
    }.items():
        pages = [ask(kind, query | {"limit": 200})]
        while pages[-1].json():
            pages.append(ask(kind, query | {"limit": 200, "offset": 200 * len(pages)}))
        assert len(pages) > 1, kind
        yield from (page.text for page in pages)


LEVELS = ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_ROOT_LEVEL", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL")
STUDY_ON_DASK = """
import sys
from flows.study.config import RunnerConfig, StudyConfig
from flows.augmentation_study import augmentation_study

config = StudyConfig.model_validate_json(sys.argv[1])
augmentation_study(config, sys.argv[2], runner=RunnerConfig(kind="dask", workers=2))
"""


@pytest.mark.long
def test_dask_workers_that_share_only_a_store_give_the_same_report(
    tiny: StudyConfig,
    bucket: str,
    secret: str,
    tmp_path: Path,
    anybody: PrefectHttpxSyncClient,
    expected: dict[str, object],
) -> None:
    location = f"{bucket}/study"
    finished = subprocess.run(
        [sys.executable, "-c", STUDY_ON_DASK, tiny.model_dump_json(), location],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | dict.fromkeys(LEVELS, "DEBUG"),
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    assert "| DEBUG   | botocore" in finished.stdout
    assert "balanced-10/1" in finished.stdout  # what the workers print too
    assert secret not in finished.stdout
    told = "".join(told_to_the_server(anybody, location=location))
    assert "balanced-10/1 arm synthetic: accuracy" in told
    assert secret not in told
    store = RunStore(location)
    store.pull_folder(tmp_path, "")
    assert figures(tmp_path) == expected
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()
    (tmp_path / "report.json").unlink()
    fsspec.filesystem("s3").rm_file("runs/study/report.json")
    augmentation_study(tiny, location)  # nothing to do but the report; by another runner
    store.pull(tmp_path, ["report.json"])
    assert figures(tmp_path) == expected


def test_study_in_a_store_that_fails_now_and_then_ends_right(
    bucket: str, tiny: StudyConfig, undisturbed: Path, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage is tried again by Prefect, and then pushed; what is no task of its own is tried again too."""
    push, pull_folder = RunStore.push, RunStore.pull_folder
    due = {"config.toml", "generator.json", "cell.json", "report.json", "pull"}

    def away(name: str) -> None:
        if name in due:
            due.remove(name)
            raise StoreError("the store is away for a moment")

    def push_that_fails(store: RunStore, workspace: Path, paths: Iterable[Path]) -> None:
        paths = list(paths)
        for path in paths:
            away(path.name)
        push(store, workspace, paths)

    def pull_that_fails(store: RunStore, workspace: Path, folder: str, *, only: str = "") -> None:
        away("pull")
        pull_folder(store, workspace, folder, only=only)

    monkeypatch.setattr(RunStore, "push", push_that_fails)
    monkeypatch.setattr(RunStore, "pull_folder", pull_that_fails)
    monkeypatch.setattr("flows.study.retrying.RETRY_SECONDS", (0.0, 0.0))
    location = f"{bucket}/flaky"
    state = augmentation_study(tiny, location, return_state=True)
    assert state.is_completed()
    assert not due
    flow_run = state.state_details.flow_run_id
    assert flow_run is not None
    with get_client(sync_client=True) as client:
        own = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))

        def tried_again() -> list[str]:
            return [task.name for task in client.read_task_runs(flow_run_filter=own) if task.run_count > 1]

        wait_until(lambda: tried_again() == ["generator balanced-10/0"])  # it hears of tasks after they have ended
    copy = tmp_path / "copy"
    RunStore(location).pull_folder(copy, "cells")
    pattern = "cells/*/*/stages/*.json"
    records = {path.relative_to(undisturbed) for path in undisturbed.glob(pattern)}
    assert records == {path.relative_to(copy) for path in copy.glob(pattern)}
    RunStore(location).pull(copy, ["report.json"])
    assert figures(copy) == figures(undisturbed)
