"""Images per second of `export_dataset`, its peak resident memory, and the share of each stage.

    python -m benchmarks.export --num-images 1000000 --workers 2

The generator has random weights: the time does not depend on them, the compressed size does.
"""

import argparse
import os
import platform
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.protocol import random_ensemble
from data.base.device import Compute, resolve_compute
from gan.checkpoint import GENERATOR_FILE, save_generator
from gan.config import GanConfig
from gan.export import ExportProgress, ExportRequest, StageSeconds, export_dataset


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One export: wall-clock and processor seconds, seconds of each stage, MiB resident after each shard, bytes."""

    elapsed_seconds: float
    processor_seconds: float
    stages: StageSeconds
    resident: tuple[int, ...]
    size: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--channels", type=int, choices=[1, 3], default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shard-size", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--format", choices=["parquet", "imagefolder", "idx"], default="parquet")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--generator", type=Path, help="a trained generator's directory")
    arguments = parser.parse_args()
    compute = resolve_compute(device="auto", precision=arguments.precision)
    request = ExportRequest(
        num_images=arguments.num_images,
        shard_size=arguments.shard_size,
        file_format=arguments.format,
        workers=arguments.workers,
    )
    with tempfile.TemporaryDirectory() as folder:
        directory = arguments.generator or random_generator(
            Path(folder) / "generator", (arguments.channels, arguments.side, arguments.side)
        )
        runs = [measure(directory, Path(folder) / str(repeat), request, compute) for repeat in range(arguments.repeats)]
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}: {arguments.num_images:,} images, {arguments.format}, {arguments.workers} workers, "
        f"{compute.device} {compute.precision}, {arguments.repeats} runs"
    )
    report(runs, request)


def measure(generator_directory: Path, output: Path, request: ExportRequest, compute: Compute) -> Measurement:
    last: list[ExportProgress] = []
    resident: list[int] = []

    def on_progress(progress: ExportProgress) -> None:
        last[:] = [progress]
        resident.append(resident_mebibytes())

    started, processor_started = time.perf_counter(), time.process_time()
    export_dataset(generator_directory, output, request, compute=compute, on_progress=on_progress)
    return Measurement(
        elapsed_seconds=time.perf_counter() - started,
        processor_seconds=time.process_time() - processor_started,
        stages=last[0].seconds,
        resident=tuple(resident),
        size=sum(path.stat().st_size for path in output.rglob("*") if path.is_file()),
    )


def report(runs: list[Measurement], request: ExportRequest) -> None:
    rates = sorted(request.num_images / run.elapsed_seconds for run in runs)
    middle = sorted(runs, key=lambda run: run.elapsed_seconds)[len(runs) // 2]
    stages, resident = middle.stages, middle.resident
    spent = stages.network + stages.encoding + stages.writing
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"images per second   {statistics.median(rates):,.0f} (median; {rates[0]:,.0f} to {rates[-1]:,.0f})\n"
        f"elapsed             {middle.elapsed_seconds:.1f} s\n"
        f"processor time      {middle.processor_seconds / request.num_images * 1e6:.0f} microseconds an image\n"
        f"network             {stages.network / spent:.1%} of the workers' time\n"
        f"encoding            {stages.encoding / spent:.1%}\n"
        f"writing             {stages.writing / spent:.1%}\n"
        f"workers busy        {spent / (middle.elapsed_seconds * request.workers):.1%}\n"
        f"resident memory     {resident[len(resident) // 4]:,} MiB after a quarter, {resident[-1]:,} MiB at the end, "
        f"peak {peak:,} MiB\n"
        f"size                {middle.size / request.num_images:.0f} bytes an image"
    )


def random_generator(directory: Path, image_shape: tuple[int, int, int]) -> Path:
    """Write an untrained generator of ten classes."""
    config = GanConfig()
    generator = random_ensemble(config, image_shape=image_shape)
    names = tuple(str(digit) for digit in range(10))
    save_generator(directory / GENERATOR_FILE, generator, config=config, image_shape=image_shape, class_names=names)
    return directory


def resident_mebibytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


if __name__ == "__main__":
    main()
