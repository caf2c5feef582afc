"""`augment serve` left alone while its parts are killed at random: what becomes of due runs, memory and disk.

    python -m benchmarks.soak --minutes 60 --interval 60

A tiny study of scikit-learn's digits runs on an interval, its cells in a worker process. At random moments the Prefect
server, the process of a run, its worker, or `augment serve` itself is killed (SIGKILL). This program plays the service
manager: it starts `augment serve` again, as systemd would. In the last part nothing is killed, so that what is under
way can end. Then Prefect's database is read: each time that was due must have a run, and each run must have ended.

Memory is the resident set of `augment serve` and of its server, the smallest of each minute of the longest life that
one had between kills (a run's processes are another matter, and end with it); disk is Prefect's home, and what is left
in the folder for temporary files.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.results import add_result
from data.base.device import resolve_compute
from flows.server import answers
from flows.study.config import resolve_config, to_toml

TINY = (
    "data.dataset='digits'",
    "data.images_per_class=[10]",
    "data.folds=2",
    "replicates=2",
    "gan.steps=60",
    "gan.batch_size=16",
    "gan.checkpoint_every=10",
    "gan.generator_width=8",
    "gan.discriminator_width=8",
    "sampling.images_per_class=20",
    "evaluation.classifier_seeds=1",
    "evaluation.arms=['real','real+classical','real+classical+synthetic']",
    "evaluation.policy='digits'",
    "evaluation.classifier.steps=40",
    "evaluation.classifier.width=4",
    "evaluation.samples.features.steps=20",
    "evaluation.samples.features.width=4",
    "compute.device='cpu'",
    "compute.threads=1",
)
KINDS = ("server", "run", "worker", "fork server", "serve")
IN_TURN = (*(["server", "run", "worker"] * 3), "fork server", "serve")  # so that `serve` lives long enough to grow
FORK_SERVER = "multiprocessing.forkserver"  # in the command of it and of the workers that it forks
RESTART_SECONDS = 5.0  # as RestartSec of a service manager
LOOK_SECONDS = 5.0
STOP_SECONDS = 180.0
PAGE = 200

Sizes = list[tuple[float, int]]  # seconds, bytes


@dataclass(kw_only=True)
class Soak:
    """What is seen while the service runs."""

    kills: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    memory: dict[str, dict[psutil.Process, Sizes]] = field(default_factory=lambda: {"serve": {}, "server": {}})
    disk: Sizes = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Account:
    """What became of the runs that were due.

    Attributes:
        ended: how many runs ended in each of Prefect's states.
        open: runs that were due and have not ended.
        missing: due times that have no run.
    """

    due: int
    ended: dict[str, int]
    open: int
    missing: int


class Service:
    """`augment serve` in a process of its own, and what belongs to it."""

    def __init__(self, folder: Path, *, interval: float, port: int) -> None:
        self.folder, self.home = folder, folder / "prefect"
        self.url = f"http://127.0.0.1:{port}/api"
        (folder / "tmp").mkdir()
        self.home.mkdir()
        config = resolve_config(preset_name="quick", file=None, options={}, assignments=list(TINY))
        (folder / "study.toml").write_text(to_toml(config) + '\n[runner]\nkind = "processes"\nworkers = 1\n')
        options = ["--interval", f"{interval:g}", "--port", str(port), "--pages-port", "0"]
        runs = ["--runs-directory", str(folder / "runs")]
        self._command = [sys.executable, "-m", "flows.cli", "serve", str(folder / "study.toml"), *options, *runs]
        own = {"PREFECT_HOME": str(self.home), "TMPDIR": str(folder / "tmp")}
        self._environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | own
        self.process = self.start()

    def start(self) -> psutil.Popen:
        """Start it, again."""
        with open(self.folder / "serve.log", "ab") as log:
            self.process = psutil.Popen(
                self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        return self.process

    def parts(self) -> dict[str, list[psutil.Process]]:
        """Return the living processes by what they do."""
        found: dict[str, list[psutil.Process]] = {kind: [] for kind in KINDS}
        with suppress(psutil.NoSuchProcess):
            found["serve"].append(psutil.Process(self.process.pid))
            for child in self.process.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if kind := _kind(child):
                        found[kind].append(child)
        return found


def _kind(process: psutil.Process) -> str:
    """Tell what a child process does, "" for a helper of Python's own and for one that has just ended."""
    command = " ".join(process.cmdline())
    if FORK_SERVER in command:
        parent = process.parent()
        return "worker" if parent is not None and FORK_SERVER in " ".join(parent.cmdline()) else "fork server"
    for sign, kind in {"server start": "server", "resource_tracker": "", "prefect": "run"}.items():
        if sign in command:
            return kind
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between runs")
    parser.add_argument("--pause", type=float, default=75.0, help="mean seconds between kills")
    parser.add_argument("--quiet-share", type=float, default=0.2, help="last share of the time without kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=4217)
    parser.add_argument("--folder", type=Path, help="where to work, and what to leave; a temporary folder without it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        service = Service(folder.resolve(), interval=options.interval, port=options.port)
        try:
            started = datetime.now(UTC)
            soak = _soak(service, options)
            ended = datetime.now(UTC)
            with temporary_settings({PREFECT_API_URL: service.url}):
                _wait_until_answered(service.url)
                due = accounted(list(scheduled_runs()), start=started, end=ended, interval=options.interval)
            service.process.terminate()
            code = service.process.wait(STOP_SECONDS)
        finally:
            for each in [process for part in service.parts().values() for process in part]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        figures = [*told(due, soak), ("exit code after SIGTERM", str(code))]
        figures.append(("load of the machine over 15 minutes", f"{os.getloadavg()[2]:.1f} on {os.cpu_count()} cores"))
        figures.append(("scratch folders left", str(len(list((folder / "tmp").glob("augment-*"))))))
        add_result("soak", compute=resolve_compute(device="cpu", precision="float32"), figures=figures)


def _soak(service: Service, options: argparse.Namespace) -> Soak:
    soak, rng, begin = Soak(), random.Random(options.seed), time.monotonic()
    end = begin + 60 * options.minutes
    next_kill = begin + rng.expovariate(1 / options.pause)
    waiting = list(IN_TURN)
    while time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
        if service.process.poll() is not None:
            time.sleep(RESTART_SECONDS)
            service.start()
            soak.restarts += 1
        parts, now = service.parts(), time.monotonic() - begin
        for kind, lives in soak.memory.items():
            for each in parts[kind]:
                with suppress(psutil.NoSuchProcess):
                    lives.setdefault(each, []).append((now, each.memory_info().rss))
        soak.disk.append((now, size_of(service.home) + size_of(service.folder / "tmp")))
        quiet = time.monotonic() > end - 60 * options.minutes * options.quiet_share
        alive = [kind for kind in waiting if parts[kind]]
        if time.monotonic() > next_kill and alive and not quiet:
            kind = rng.choice(alive)
            with suppress(psutil.NoSuchProcess):
                rng.choice(parts[kind]).send_signal(signal.SIGKILL)
                soak.kills[kind] += 1
                print(f"{now:6.0f} s: killed {kind}", flush=True)
            waiting.remove(kind)
            waiting = waiting or list(IN_TURN)
            next_kill = time.monotonic() + rng.expovariate(1 / options.pause)
    return soak


def _wait_until_answered(url: str) -> None:
    give_up = time.monotonic() + STOP_SECONDS
    while not answers(url) and time.monotonic() < give_up:
        time.sleep(1)


def scheduled_runs() -> Iterator[FlowRun]:
    """Yield the runs that the schedule made, latest first."""
    with get_client(sync_client=True) as client:
        for offset in count(step=PAGE):
            page = client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=["scheduled_study"])),
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                limit=PAGE,
                offset=offset,
            )
            yield from (run for run in page if run.auto_scheduled)
            if len(page) < PAGE:
                return


def accounted(runs: Sequence[FlowRun], *, start: datetime, end: datetime, interval: float) -> Account:
    """Hold the runs against the times that were due between `start` and `end`.

    A time within the last two intervals before `end` need not have ended yet.
    """
    settled = end - timedelta(seconds=2 * interval)
    times: dict[datetime, FlowRun] = {
        run.expected_start_time: run for run in runs if run.expected_start_time is not None
    }
    first = min((each for each in times if each >= start), default=None)
    due: list[datetime] = []
    while first is not None and first + timedelta(seconds=interval * len(due)) < settled:
        due.append(first + timedelta(seconds=interval * len(due)))
    found = [next((run for at, run in times.items() if abs(at - each) < timedelta(seconds=1)), None) for each in due]
    states = [run.state.type if run is not None and run.state is not None else None for run in found]
    return Account(
        due=len(due),
        ended=dict(Counter(state.value for state in states if state in TERMINAL_STATES)),
        open=sum(state is not None and state not in TERMINAL_STATES for state in states),
        missing=sum(run is None for run in found),
    )


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a folder take; files come and go meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def growth(seen: Sizes) -> str:
    """Say in megabytes what the second and the last quarter of the time had: the smallest of each minute, their median.

    In the first quarter a process may still be starting.
    """
    minutes: dict[int, int] = {}
    for at, size in seen:
        minutes[int(at // 60)] = min(size, minutes.get(int(at // 60), size))
    smallest = [size for _, size in sorted(minutes.items())]
    quarter = max(1, len(smallest) // 4)
    second, last = (statistics.median(part or smallest) for part in (smallest[quarter:][:quarter], smallest[-quarter:]))
    return f"{second / 1e6:,.0f} MB, then {last / 1e6:,.0f} MB"


def longest(lives: Iterable[Sizes]) -> Sizes:
    """Return what was seen of the process that lived longest."""
    return max(lives, key=lambda seen: seen[-1][0] - seen[0][0])


def _minutes(seen: Sizes) -> str:
    return f"{(seen[-1][0] - seen[0][0]) / 60:.0f} minutes"


def told(due: Account, soak: Soak) -> list[tuple[str, str]]:
    """Return the figures as text."""
    of_states = ", ".join(f"{number} {state.lower()}" for state, number in sorted(due.ended.items()))
    kills = ", ".join(f"{soak.kills[kind]} {kind}" for kind in KINDS)
    return [
        ("due runs", f"{due.due}: {of_states}; {due.open} not ended, {due.missing} without a run"),
        ("killed", f"{kills}; serve started again {soak.restarts} times"),
        *(
            (f"memory of the {kind} that lived longest, {_minutes(seen)}: second and last quarter", growth(seen))
            for kind, seen in ((kind, longest(lives.values())) for kind, lives in soak.memory.items() if lives)
        ),
        ("disk of Prefect's home and temporary files, second and last quarter", growth(soak.disk)),
        ("completed", f"{due.ended.get(StateType.COMPLETED.value, 0)} of {due.due}"),
    ]


if __name__ == "__main__":
    main()
