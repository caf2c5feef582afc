"""What all benchmarks share: the machine, and the table that results are added to."""

import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from data.base.device import Compute

RESULTS = Path(__file__).parent / "RESULTS.md"


def machine(compute: Compute) -> str:
    """Describe the hardware in one line."""
    name = torch.cuda.get_device_name() if compute.device == "cuda" else _processor()
    threads = "" if compute.device == "cuda" else f", {torch.get_num_threads()} threads"
    return f"{name}{threads}, {compute.precision}, torch {torch.__version__}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as stream:
            lines = stream.readlines()
    except OSError:
        return platform.processor() or "unknown processor"
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    units = [flag for flag in ("amx_bf16", "avx512_bf16", "avx2") if flag in flags]
    return f"{name} ({units[0]})" if units else name


def add_result(benchmark: str, *, compute: Compute, figures: Sequence[tuple[str, str]]) -> None:
    """Print the figures and add them to RESULTS.md, one row each, with the commit that made them."""
    command = shlex.join(["python", "-m", f"benchmarks.{benchmark}", *sys.argv[1:]])
    day = f"{datetime.now(UTC).date().isoformat()} {commit()}"
    if not RESULTS.exists():
        RESULTS.write_text("# Results\n\n| date, commit | command | machine | what | figure |\n|---|---|---|---|---|\n")
    with RESULTS.open("a", encoding="utf-8") as stream:
        for what, figure in figures:
            print(f"{what}: {figure}")
            stream.write(f"| {day} | `{command}` | {machine(compute)} | {what} | {figure} |\n")


def commit_of(what: str) -> str:
    """Return the commit of the newest row of RESULTS.md whose measurement's name begins with `what`, "" without any."""
    rows = [line.split(" | ") for line in RESULTS.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    dated = [row[0].split() for row in rows if len(row) > 3 and row[3].startswith(what)]
    return next((words[2] for words in reversed(dated) if len(words) > 2), "")  # | DATE COMMIT


def commit() -> str:
    """Return the short name of the commit that the tree stands on, with a + where it was changed since."""
    root = Path(__file__).parent.parent
    described = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--abbrev=7", "--dirty=+", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "no commit"


def synchronise(compute: Compute) -> None:
    """Wait for the device, so that a clock read afterwards means something."""
    if compute.device == "cuda":
        torch.cuda.synchronize()


def seconds_each(work: Callable[[], object], *, compute: Compute, repeats: int, warmup: int = 3) -> list[float]:
    """Return how long each of `repeats` calls took."""
    for _ in range(warmup):
        work()
    durations = []
    for _ in range(repeats):
        synchronise(compute)
        started = time.perf_counter()
        work()
        synchronise(compute)
        durations.append(time.perf_counter() - started)
    return durations


def median_and_spread(values: Sequence[float], *, digits: int = 0) -> str:
    """Return `median (lower quartile to upper quartile)`."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def median_and_range(values: Sequence[float], *, digits: int = 0) -> str:
    """Return `median (smallest to largest)`; the spread of few values."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
