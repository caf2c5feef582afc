"""Where a run lies: a local folder, or any fsspec URL (s3://bucket/runs/…) that all workers reach.

A worker computes in a local workspace. For a local run that is the run directory itself and nothing is copied. For a
URL it is a scratch folder: a cell's files are pulled, and each finished stage is pushed, its record last, so that a
stage counts as finished in the store only when all its files are there.

Credentials come from the environment alone (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `FSSPEC_…`, instance roles),
never from the URL, so that no configuration, report or log can hold them.
"""

import errno
import json
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from urllib.parse import urlsplit

import fsspec

from data.base.errors import AugmentError, CorruptFileError, UsageError, message_of
from data.base.files import given_path
from evaluation.reporting.run_files import CONFIG_FILE
from flows.study.retrying import LASTING, StoreError, patiently
from flows.study.scratch import scratch_folder, sweep_scratch

OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "obs", "cos", "b2")
OWNER_FILE = ".owner.json"
HEARTBEAT_SECONDS = 15.0
STALE_SECONDS = 90.0  # without a sign of life for so long, an owner may be dead
WATCH_SECONDS, LOOK_SECONDS = 40.0, 2.0  # and is, if it gives none while it is watched for two heartbeats and more
SECRET_VARIABLE = re.compile(r"SECRET|PASSWORD|ACCESS_KEY|CONNECTION_STRING|TOKEN(?!IZER)|_KEY$|APIKEY$", re.IGNORECASE)
SECRET_NAME = re.compile(r"secret|token|password|key|signature", re.IGNORECASE)  # of a part of such a variable
URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # user:password of a URL
MIN_SECRET_LENGTH = 4  # shorter values would blank out ordinary words
FULL = {errno.ENOSPC, errno.EDQUOT}  # what a disk of this machine says, never an object store
SETTLE_SECONDS = 2.0  # in which somebody who found the same dead owner would take the run too


def redact(text: str) -> str:
    """Return `text` without secrets: values of environment variables that hold some, and passwords in URLs."""
    for secret in sorted(_secrets_of_environment(), key=len, reverse=True):
        if len(secret) >= MIN_SECRET_LENGTH:
            text = text.replace(secret, "***")
    return URL_PASSWORD.sub("***", text)


def _secrets_of_environment() -> set[str]:
    found: set[str] = set()
    for name, value in os.environ.items():
        if SECRET_VARIABLE.search(name):
            found.add(value)
            found.update(_secrets_in(dict(part.partition("=")[::2] for part in value.split(";"))))  # connection string
        found.update(part for login in URL_PASSWORD.findall(value) for part in login.split(":")[1:])
        if name.startswith("FSSPEC_"):  # such as FSSPEC_S3='{"key": "…", "secret": "…"}'
            with suppress(ValueError):
                found.update(_secrets_in(json.loads(value)))
    return found


def _secrets_in(value: object) -> Iterator[str]:
    match value:
        case dict():
            for name, part in value.items():
                if isinstance(part, str) and SECRET_NAME.search(str(name)):
                    yield part
                yield from _secrets_in(part)
        case list():
            for part in value:
                yield from _secrets_in(part)


@dataclass(frozen=True)
class RunStore:
    """A run directory, by its path or URL; cheap to make and to send to a worker.

    Raises:
        UsageError: a URL with credentials in it, or of a protocol that fsspec does not know here.
    """

    location: str

    def __post_init__(self) -> None:
        if self.is_local:
            return
        parts = urlsplit(self.location)
        if parts.username is not None or parts.password is not None or "@" in parts.netloc or parts.query:
            raise UsageError(
                f"a {parts.scheme}:// URL of a run holds no credentials and no query; set them in the environment, "
                "for example AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if not parts.netloc and not parts.path.strip("/"):
            raise UsageError(f"{self.location!r} names no place; write for example s3://bucket/runs/first")
        try:
            fsspec.get_filesystem_class(parts.scheme)
        except (ValueError, ImportError) as error:
            raise UsageError(f"cannot use {parts.scheme}:// for runs: {error}") from error

    @property
    def is_local(self) -> bool:
        """Tell whether the run lies in a folder of this machine."""
        return "://" not in self.location

    @property
    def name(self) -> str:
        """The run's name: the last part of its location."""
        return Path(self.location).name if self.is_local else self.location.rstrip("/").rpartition("/")[2]

    def link(self, name: str) -> str:
        """Return the URL of the file `name` (relative)."""
        return (
            (Path(self.location) / name).resolve().as_uri() if self.is_local else f"{self.location.rstrip('/')}/{name}"
        )

    def child(self, name: str) -> "RunStore":
        """Return the store one level below."""
        return RunStore(str(Path(self.location) / name) if self.is_local else f"{self.location.rstrip('/')}/{name}")

    def check_writable(self) -> None:
        """See that files can be written here, and make nothing; a store is not asked.

        Raises:
            AugmentError: they cannot.
        """
        if not self.is_local:
            return
        place = Path(self.location).absolute()
        try:
            with TemporaryFile(dir=next(folder for folder in (place, *place.parents) if folder.exists())):
                pass
        except OSError as error:
            reason = error.strerror or error
            raise AugmentError(f"cannot write {self.location}: {reason}; choose another place") from error

    def run_names(self) -> list[str]:
        """Return the names of the runs (folders with a configuration) below this place, sorted.

        A link to a run beside it, such as `latest`, is no further run.
        """
        if self.is_local:
            found = (path.parent.name for path in Path(self.location).glob(f"*/{CONFIG_FILE}"))
            return sorted(set(found) - self.links_inside().keys())
        with self._reached() as (files, root):
            return sorted(str(path).split("/")[-2] for path in files.glob(f"{root}/*/{CONFIG_FILE}"))

    def links_inside(self) -> dict[str, str]:
        """Return the links of this folder that lead to what lies in it too, by name; a store has none."""
        if not self.is_local or not Path(self.location).is_dir():
            return {}
        folder = Path(self.location).resolve()
        links = {path.name: path.resolve() for path in folder.iterdir() if path.is_symlink() and path.exists()}
        return {name: target.name for name, target in links.items() if target.parent == folder}

    def exists(self) -> bool:
        """Tell whether anything is at this place."""
        if self.is_local:
            return Path(self.location).exists()
        with self._reached() as (files, root):
            files.invalidate_cache()
            return bool(files.exists(root))

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yield the folder to work in: the run directory itself, or an empty scratch folder that is removed after."""
        if self.is_local:
            yield Path(self.location)
            return
        with scratch_folder() as scratch:
            try:
                yield scratch
            except AugmentError as error:  # people know the run by its URL
                text = str(error)
                if str(scratch) not in text:
                    raise
                raise type(error)(text.replace(str(scratch), self.location)) from error

    @contextmanager
    def fetched(self, *names: str) -> Iterator[Path]:
        """Yield a folder in which the named files can be read, as far as they exist."""
        with self.workspace() as directory:
            self.pull(directory, names)
            yield directory

    @contextmanager
    def copied(self) -> Iterator[Path]:
        """Yield a folder with all files of this place: the place itself, or a copy of a store's that is removed after.

        Raises:
            UsageError: a store has nothing there.
            StoreError: the store cannot be read.
        """
        with self.workspace() as directory:
            self.pull_folder(directory, "")
            if not any(directory.iterdir() if directory.is_dir() else [directory]):
                raise UsageError(f"there is nothing at {self.location}")
            yield directory

    @contextmanager
    def copied_runs(self, *names: str) -> Iterator[Path]:
        """Yield a folder of runs with the named files of each, and of this place itself."""
        with self.workspace() as directory:
            self.pull(directory, names)
            for name in [] if self.is_local else self.run_names():
                self.child(name).pull(directory / name, names)
            yield directory

    def size_bytes(self) -> int:
        """Return how much room the files of this place take; those that a run renames meanwhile do not count."""
        if self.is_local:
            size = 0
            for path in Path(self.location).rglob("*"):
                with suppress(OSError):
                    size += path.stat().st_size if path.is_file() else 0
            return size
        with self._reached() as (files, root):
            return int(files.du(root))

    def remove(self) -> None:
        """Remove everything at this place of a store.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._reached() as (files, root):
            files.rm(root, recursive=True)

    def pull(self, workspace: Path, names: Iterable[str]) -> None:
        """Copy the named files, as far as they exist, into the workspace.

        Raises:
            StoreError: the store cannot be read.
        """
        if self.is_local:
            return
        with self._reached() as (files, root):
            for name in names:
                with suppress(FileNotFoundError):
                    self._download(files, f"{root}/{name}", _inside(workspace, name))

    def pull_folder(self, workspace: Path, folder: str, *, only: str = "") -> None:
        """Copy everything below `folder` into the workspace, or only paths that contain `only`.

        Raises:
            StoreError: the store cannot be read.
            CorruptFileError: it lists a name that leads out of the workspace.
        """
        if self.is_local:
            return
        with self._reached() as (files, root):
            files.invalidate_cache()
            for path in files.find(f"{root}/{folder}"):
                name = str(path).removeprefix(f"{root.lstrip('/')}/").removeprefix(f"{root}/")
                if only not in name:
                    continue
                self._download(files, path, _inside(workspace, name))

    def push(self, workspace: Path, paths: Iterable[Path]) -> None:
        """Copy files of the workspace to the store, in the given order.

        Raises:
            StoreError: the store cannot be written.
        """
        if self.is_local:
            return
        with self._reached() as (files, root):
            for path in paths:
                target = f"{root}/{path.relative_to(workspace).as_posix()}"
                self._make_folder(files, target.rpartition("/")[0])
                files.put_file(str(path), target)

    def push_stage(self, workspace: Path, *, outputs: Iterable[Path], record: Path, keep: Path) -> None:
        """Let the store hold a finished stage: its old record goes first, its new record comes last.

        Args:
            keep: the cell's folder; files of an older attempt beside the outputs are removed below it, not in it.

        Raises:
            StoreError: the store cannot be written.
        """
        if self.is_local:
            return
        outputs = sorted(outputs)
        with self._reached() as (files, root):
            files.invalidate_cache()

            def remote(path: Path) -> str:
                return f"{root}/{path.relative_to(workspace).as_posix()}"

            made = {remote(path).lstrip("/") for path in outputs}
            folders = {remote(path.parent) for path in outputs if path.parent != keep}
            old = [path for folder in folders for path in files.find(folder, maxdepth=1)]
            stale = [path for path in old if str(path).lstrip("/") not in made]
            for path in [remote(record), *stale]:
                with suppress(FileNotFoundError):
                    files.rm_file(path)
        self.push(workspace, [*outputs, record])

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the run while the block runs, so that no second study works in it. A local run has its file lock.

        In a store the owner is a small object that is created on the condition that it does not exist (S3's
        `If-None-Match`, exclusive open elsewhere), so of two studies that start together one is refused. It is
        renewed every few seconds; without a sign of life for 90 seconds, and while it is watched after that, its
        owner counts as dead and is replaced; one that was a process of this machine and has ended, at once.
        What this does not guarantee: an owner that was paused for longer and wakes up continues to write beside its
        successor. Results are the same bytes from either, so nothing is spoilt by that.

        Raises:
            UsageError: its bucket does not exist.
            AugmentError: another study owns the run.
        """
        if self.is_local:
            yield
            return
        sweep_scratch()
        token, stop = secrets.token_hex(8), threading.Event()
        beat = threading.Thread(target=self._keep, args=(token, stop), daemon=True, name="run-owner")
        try:
            patiently(lambda: self._take(token))
            beat.start()
            yield
        finally:
            stop.set()
            if beat.is_alive():
                beat.join()
            with suppress(AugmentError), self._reached() as (files, root):
                if self._owner().get("token") == token:
                    files.rm_file(f"{root}/{OWNER_FILE}")

    def _take(self, token: str) -> None:
        replaced = False
        self.check_bucket()
        for _ in range(2):
            with self._reached() as (files, root):
                self._make_folder(files, root)
                try:
                    files.pipe_file(f"{root}/{OWNER_FILE}", _owner_record(token), mode="create")
                    break
                except FileExistsError:
                    owner = self._owner()
                    if owner.get("token") == token:  # taken by an attempt whose answer was lost
                        break
                    if self._is_alive(owner):
                        raise AugmentError(
                            f"another process is working in {self.location} (process {owner.get('process')} on "
                            f"{owner.get('host')}); wait for it, or start another run with --run-dir"
                        ) from None
                    files.rm_file(f"{root}/{OWNER_FILE}")
                    replaced = True
        if replaced:  # another one that found the same dead owner may have removed this process's record in its place
            time.sleep(SETTLE_SECONDS)
        if self._owner().get("token") != token:
            raise AugmentError(f"another process has just started to work in {self.location}; wait for it")

    @property
    def _has_buckets(self) -> bool:
        """Whether the place is in an object store, which has buckets but no folders."""
        return not self.is_local and urlsplit(self.location).scheme in OBJECT_STORES

    def check_bucket(self) -> None:
        """Make sure that the bucket exists: one is never made here, and surely not by a typing error.

        Raises:
            UsageError: it does not.
            StoreError: the store does not tell.
        """
        if not self._has_buckets:
            return
        with self._reached() as (files, root):
            bucket = root.lstrip("/").partition("/")[0]
            files.invalidate_cache()
            with suppress(PermissionError):  # whoever may not list a bucket may still write below a folder of it
                if not files.exists(bucket):
                    scheme = urlsplit(self.location).scheme
                    raise UsageError(f"there is no bucket {scheme}://{bucket}; make it, or correct {self.location}")

    def _make_folder(self, files: Any, path: str) -> None:
        if not self._has_buckets:
            files.makedirs(path, exist_ok=True)

    def _is_alive(self, owner: dict[str, Any]) -> bool:
        """Tell whether somebody renews the owner's record.

        A process of this machine is looked up. Of another machine's, the times in the record are by the owner's clock,
        which may be minutes from this one: a record that looks fresh is that of a live owner, or of one that died a
        moment ago; one that looks old is watched for a while by this machine's own clock, whether it changes.
        """
        if _has_ended_here(str(owner.get("life", ""))):
            return False
        if abs(time.time() - float(owner.get("alive", 0))) <= STALE_SECONDS:
            return True
        give_up = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < give_up:
            time.sleep(LOOK_SECONDS)
            if self._owner() != owner:
                return True
        return False

    def _keep(self, token: str, stop: threading.Event) -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            with suppress(AugmentError), self._reached() as (files, root):
                if self._owner().get("token") == token:
                    files.pipe_file(f"{root}/{OWNER_FILE}", _owner_record(token))

    def _owner(self) -> dict[str, Any]:
        with self._reached() as (files, root):
            try:
                found = json.loads(files.cat_file(f"{root}/{OWNER_FILE}"))
            except (FileNotFoundError, ValueError):
                return {}
            return found if isinstance(found, dict) else {}

    def _download(self, files: Any, source: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            files.get_file(source, str(target))
        except FileNotFoundError:
            target.unlink(missing_ok=True)
            raise

    @contextmanager
    def _reached(self) -> Iterator[tuple[Any, str]]:
        """Yield the file system and the root path in it; what goes wrong there becomes one line without secrets."""
        try:
            files, root = fsspec.core.url_to_fs(self.location)
            yield files, str(root).rstrip("/")
        except (AugmentError, FileExistsError):
            raise
        except OSError as error:
            detail = redact(message_of(error))
            if error.errno in FULL or (error.errno in LASTING and error.filename is not None):  # of this machine
                raise AugmentError(
                    f"cannot work with {self.location} here: {detail}; free or choose another place"
                ) from None
            raise StoreError(f"cannot use {self.location}: {detail}") from None
        except Exception as error:  # each file system raises its own errors; none may reach a log unredacted
            detail = redact(message_of(error))
            raise StoreError(f"cannot use {self.location}: {detail}") from None


def store_of(location: str | Path) -> RunStore:
    """Return the store of a run or of a folder of runs.

    Raises:
        UsageError: a URL with credentials in it, of a protocol that is not known here, or of a place that ends with
            this process; a path that cannot be looked at.
    """
    if "memory://" in str(location):  # behind a cache too, as fsspec chains them
        raise UsageError(f"{location} ends with this process, and the run with it; name a folder or a lasting store")
    return RunStore(str(location) if "://" in str(location) else str(given_path(location)))


def _owner_record(token: str) -> bytes:
    process = os.getpid()
    facts = {
        "token": token,
        "host": platform.node(),
        "process": process,
        "alive": time.time(),
        "life": life_of(process),
    }
    return json.dumps(facts).encode()


def life_of(process: int) -> str:
    """Return what no other process is ever called: the machine's boot, the namespace of process numbers, this number,
    and when it started; "" of one that has ended, or where that cannot be told (it is Linux's)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
        state, *facts = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else f"{boot} {namespace} {process} {facts[18]}"


def _has_ended_here(life: str) -> bool:
    """Tell whether a process was one of this machine and namespace, and has ended."""
    match life.split():
        case [boot, namespace, process, _] if process.isdigit():
            return life_of(os.getpid()).split()[:2] == [boot, namespace] and life_of(int(process)) != life
        case _:
            return False


def _inside(workspace: Path, name: str) -> Path:
    target = (workspace / name).resolve()
    if not target.is_relative_to(workspace.resolve()):
        raise CorruptFileError(f"the store lists {name!r}, which leads out of the run directory; remove it there")
    return workspace / name
