"""How often the search for copies finds them, and how often it fails an honest generator, one data set left out.

    python -m benchmarks.audit digits mnist parquet:PATH        # about two minutes for each thousand samples

Honest generators are mixtures in principal components (`evaluation.plants.mixture_samples`), each of its own subset.
Copies of each part of the data, altered in each way, replace a share of their samples. The level of the test is the
largest that fails at most 2 % of the honest searches on the *other* data sets; it is then tried on the one left out.
No kind of plant has a part in setting it.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.images import LabelledImages
from data.sources.registry import load_source
from data.sources.source import Source
from evaluation.audit import divide
from evaluation.leaks import search_copies
from evaluation.plants import COPY_CHECKS, alterations_of, copying_plants, mixture_samples
from evaluation.samples import RealData, subsample

LEVELS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
MOST_FALSE = 0.02
PARTS = ("training", "other train", "test")


@dataclass(frozen=True)
class Searched:
    """One search: in which data set, for copies of which part, altered how ("" in an honest set), and its p-value."""

    dataset: str
    part: str
    alteration: str
    p_value: float


def search_dataset(source: Source, *, cells: int, share: float, most: int) -> list[Searched]:
    """Search the samples of `cells` honest generators, and those with planted copies in place of a share of them."""
    found = []
    for seed in range(cells):
        divided = divide(source, seed=seed)
        rng = np.random.default_rng(seed)
        like = subsample(divided.unused, most, rng=rng)
        honest = mixture_samples(divided.real.subset, like.labels, rng=rng)
        found += _searches(source.name, "", honest, divided.real, most)
        for plant in copying_plants(honest, divided.real, share=share, alterations=alterations_of(like), rng=rng):
            found += _searches(source.name, plant.generator.partition(", ")[2], plant.samples, divided.real, most)
    return found


def _searches(dataset: str, alteration: str, samples: LabelledImages, real: RealData, most: int) -> list[Searched]:
    rng = np.random.default_rng(0)
    pool = real.unseen_train()
    unseen, tests = subsample(pool, most, rng=rng), subsample(real.test, most, rng=rng)
    references = (real.subset, pool, real.test)
    beside = (unseen, tests, unseen)
    found = []
    for part, images, others in zip(PARTS, references, beside, strict=True):
        p_value = search_copies(part, images, samples=samples, unseen=others).p_value
        if p_value is not None:
            found.append(Searched(dataset, part, alteration, p_value))
    return found


def level_for(honest: Sequence[float]) -> float:
    """Return the largest level that fails at most `MOST_FALSE` of the honest searches."""
    p_values = np.array(honest)
    return next((level for level in LEVELS if (p_values < level).mean() <= MOST_FALSE), LEVELS[-1])


def table(found: Sequence[Searched]) -> list[str]:
    """Return a Markdown table: for each data set left out, the level from the others, and what it does there."""
    datasets = list(dict.fromkeys(one.dataset for one in found))
    kinds = list(dict.fromkeys(one.alteration for one in found if one.alteration))
    lines = ["| left out | level | false alarms | " + " | ".join(kinds) + " |", "|---" * (3 + len(kinds)) + "|"]
    for left_out in datasets:
        level = level_for([one.p_value for one in found if one.dataset != left_out and not one.alteration] or [1.0])
        rates = defaultdict(list)
        for one in found:
            if one.dataset == left_out:
                rates[one.alteration].append(one.p_value < level)
        told = [f"{sum(rates[kind])} of {len(rates[kind])}" if rates[kind] else "" for kind in ("", *kinds)]
        lines.append(f"| {left_out} | {level:g} | " + " | ".join(told) + " |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", default=["digits"])
    parser.add_argument("--cells", type=int, default=5, help="honest generators of each data set")
    parser.add_argument("--share", type=float, default=0.02, help="of the samples that are copies of each part")
    parser.add_argument("--most", type=int, default=1000, help="samples, and unseen real images beside them")
    options = parser.parse_args(arguments)
    found: list[Searched] = []
    for name in options.datasets:
        found += search_dataset(load_source(name), cells=options.cells, share=options.share, most=options.most)
    print(f"{', '.join(COPY_CHECKS)}; copies are {options.share:.0%} of the samples, {options.cells} generators each")
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
