"""How often the checks catch a planted generator, and fail an honest one, with thresholds that were set on others.

    python -m benchmarks.audit --workers 2 --datasets digits mnist parquet:PATH
    python -m benchmarks.audit --table                # of what is there

A *cell* is a data set, divided anew by a seed; its generators saw 10, 25 or 50 images per class. Honest ones are a
quick GAN and a mixture in principal components, trained on that subset alone, and real images that nobody used. Planted
ones are those of `augment audit` (`evaluation.plants`). Each is judged by `evaluation.samples.evaluate_samples`, as a
study judges its samples, and leaves a line of JSON: stopped in between, the same call goes on. `benchmarks.calibration`
makes the tables.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

from benchmarks.calibration import Judged, tables
from benchmarks.pieces import prepared, read_lines, worked_through
from benchmarks.protocol import trained_samples
from data.base.device import resolve_compute
from data.base.randomness import child_seed
from data.images import LabelledImages
from data.sources.registry import load_source
from evaluation.audit import Divided, divide, planted_generators
from evaluation.config import SamplesConfig
from evaluation.features import FeatureNetwork, feature_network, instrument_directory
from evaluation.plants import Plant
from evaluation.samples import evaluate_samples, leak_parts
from gan.config import GanConfig

SUBSET_SIZES = (10, 25, 50)  # images per class that a cell's generators saw, in turn
GAN_STEPS = 300
TOGETHER = 5  # planted generators of a cell that a process judges in one go
A_GAN = "a quick GAN"


@dataclass(frozen=True, kw_only=True)
class Some:
    """Some generators of one cell; a number counts the planted ones, and is -1 for the quick GAN."""

    dataset: str
    seed: int
    numbers: tuple[int, ...]
    samples: int

    @property
    def name(self) -> str:
        """What their line is found by, on another machine too."""
        numbers = ",".join(map(str, self.numbers))
        return f"{self.dataset.rpartition('/')[2]} {self.seed} {numbers} of {self.samples}"


class AllJudged(BaseModel, frozen=True, extra="forbid"):
    """What was found of some generators."""

    generators: tuple[Judged, ...]


def judge(some: Some) -> AllJudged:
    """Make the samples of some generators and judge them."""
    cell, plants = _cell(some.dataset, some.seed, some.samples)
    found = []
    for number in some.numbers:
        if number < 0:
            plant = Plant(generator=A_GAN, family="honest", expected=(), samples=_quick_gan(cell, seed=some.seed))
        else:
            plant = plants[number]
        evaluation = evaluate_samples(
            plant.samples,
            real=cell.real,
            network=_instrument(some.dataset),
            config=SamplesConfig(max_images=some.samples),
            seed=child_seed(some.seed, "audit", plant.generator),
        )
        found.append(Judged.of(plant, evaluation, dataset=cell.source.name, seed=some.seed))
    return AllJudged(generators=tuple(found))


@lru_cache(maxsize=1)  # plants of a cell follow each other
def _cell(dataset: str, seed: int, samples: int) -> tuple[Divided, list[Plant]]:
    per_class = SUBSET_SIZES[seed % len(SUBSET_SIZES)]
    cell = divide(load_source(dataset), seed=seed, subset_per_class=per_class, samples=samples)
    parts = leak_parts(cell.real, config=SamplesConfig(max_images=samples), seed=seed)
    plants = planted_generators(cell, network=_instrument(dataset), seed=seed)
    return replace(cell, real=replace(cell.real, leak_parts=parts)), plants


@lru_cache(maxsize=1)
def _instrument(dataset: str) -> FeatureNetwork:
    return feature_network(
        load_source(dataset).train,
        instrument_directory(),
        config=SamplesConfig().features,
        compute=resolve_compute(device="cpu", precision="float32"),
        on_progress=lambda _: None,
    )


def _make_instrument(dataset: str) -> None:
    _instrument(dataset)


def _quick_gan(cell: Divided, *, seed: int) -> LabelledImages:
    samples, _ = trained_samples(
        cell.real.subset,
        config=GanConfig(steps=GAN_STEPS),
        images_per_class=int(cell.unused.class_counts().min()),
        seed=child_seed(seed, "audit", "gan"),
        compute=resolve_compute(device="cpu", precision="float32"),
    )
    return samples


def pieces_of(dataset: str, *, cells: int, planted: int, samples: int) -> list[Some]:
    """Return the generators of a data set's cells: the honest ones of all, the others of the first `planted` ones."""
    plants = _cell(dataset, 0, samples)[1]
    honest = (-1, *(number for number, plant in enumerate(plants) if plant.family == "honest"))
    others = [number for number, plant in enumerate(plants) if plant.family != "honest"]
    cheats = [tuple(others[start : start + TOGETHER]) for start in range(0, len(others), TOGETHER)]
    return [
        Some(dataset=dataset, seed=seed, numbers=numbers, samples=samples)
        for seed in range(cells)
        for numbers in (honest, *(cheats if seed < planted else []))
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge what is not judged yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["digits", "mnist"])
    parser.add_argument("--cells", type=int, default=13, help="of each data set")
    parser.add_argument(
        "--planted", type=int, default=3, help="cells of each data set that have planted generators too"
    )
    parser.add_argument("--samples", type=int, default=1000, help="of each generator")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--lines", type=Path, default=Path("runs/bench-audit.jsonl"), help="where finished ones go")
    parser.add_argument("--table", action="store_true", help="judge nothing, print the tables of what is there")
    options = parser.parse_args(arguments)
    if options.table:
        judged = read_lines(options.lines, found=AllJudged)
    else:
        prepared(_make_instrument, options.datasets, workers=options.workers)  # or all processes would train it
        pieces = [
            piece
            for name in options.datasets
            for piece in pieces_of(name, cells=options.cells, planted=options.planted, samples=options.samples)
        ]
        judged = worked_through(
            {piece.name: piece for piece in sorted(pieces, key=lambda piece: piece.seed)},
            judge,
            found=AllJudged,
            lines=options.lines,
            workers=options.workers,
        )
    found = [one for some in judged.values() for one in some.generators]
    print("\n".join(tables(found)))


if __name__ == "__main__":
    main()
