"""Images per second of `export_dataset`, its peak resident memory, and the share of each stage.

    python -m benchmarks.export --num-images 1000000 --workers 2

The generator has random weights: the time does not depend on them, the compressed size does.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import torch

from data.device import resolve_compute
from gan.checkpoint import save_generator
from gan.config import GanConfig
from gan.export import GENERATOR_FILE, ExportProgress, ExportRequest, export_dataset
from gan.networks import Generator, initialise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shard-size", type=int, default=10_000)
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
        directory = arguments.generator or random_generator(Path(folder) / "generator")
        last: list[ExportProgress] = []
        memory: list[int] = []

        def on_progress(progress: ExportProgress) -> None:
            last[:] = [progress]
            memory.append(resident_mebibytes())

        started, processor_started = time.perf_counter(), time.process_time()
        export_dataset(directory, Path(folder) / "out", request, compute=compute, on_progress=on_progress)
        elapsed_seconds = time.perf_counter() - started
        processor_seconds = time.process_time() - processor_started
        size = sum(path.stat().st_size for path in (Path(folder) / "out").rglob("*") if path.is_file())
    stages = last[0].seconds
    spent = stages.network + stages.encoding + stages.writing
    print(
        f"{arguments.num_images:,} images, {arguments.format}, {arguments.workers} workers, {compute.device} "
        f"{compute.precision}\n"
        f"images per second   {arguments.num_images / elapsed_seconds:,.0f}\n"
        f"elapsed             {elapsed_seconds:.1f} s\n"
        f"processor time      {processor_seconds / arguments.num_images * 1e6:.0f} microseconds an image\n"
        f"network             {stages.network / spent:.1%}\n"
        f"encoding            {stages.encoding / spent:.1%}\n"
        f"writing             {stages.writing / spent:.1%}\n"
        f"workers busy        {spent / (elapsed_seconds * arguments.workers):.1%}\n"
        f"resident memory     {memory[len(memory) // 4]:,} MiB after a quarter, {memory[-1]:,} MiB at the end, "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:,} MiB\n"
        f"size                {size / arguments.num_images:.0f} bytes an image"
    )


def random_generator(directory: Path) -> Path:
    """Write an untrained MNIST-sized generator."""
    config = GanConfig()
    generator = Generator(config, image_shape=(1, 28, 28), num_classes=10)
    initialise(generator, config=config, rng=torch.Generator().manual_seed(0))
    names = tuple(str(digit) for digit in range(10))
    save_generator(directory / GENERATOR_FILE, generator, config=config, image_shape=(1, 28, 28), class_names=names)
    return directory


def resident_mebibytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


if __name__ == "__main__":
    main()
