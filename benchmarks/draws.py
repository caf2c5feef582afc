"""What the benchmarks over many draws of MNIST share: their options, and the CSV that spares computing a draw twice."""

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from benchmarks.protocol import Judge, Split, overridden, trained_samples
from data.augmentation import DeformationConfig
from data.base.device import Compute, resolve_compute
from data.base.files import digest_json
from data.images import LabelledImages
from evaluation.config import ClassifierConfig
from gan.config import GanConfig

TableRow = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class DrawTable:
    """The rows of the draws that were made with the same settings.

    Attributes:
        columns: of the CSV; `settings` and `draw` must be among them.
        settings: digest of all that a draw's figures depend on.
    """

    path: Path
    columns: tuple[str, ...]
    settings: str

    def finished(self) -> dict[int, list[dict[str, str]]]:
        """Return the rows of each finished draw."""
        draws: dict[int, list[dict[str, str]]] = {}
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream):
                    if row["settings"] == self.settings:
                        draws.setdefault(int(row["draw"]), []).append(row)
        return draws

    def add(self, rows: Sequence[TableRow]) -> None:
        """Add the rows of one draw, all of them, whoever else writes."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            new = not self.path.exists()
            with self.path.open("a", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, self.columns)
                if new:
                    writer.writeheader()
                writer.writerows({"settings": self.settings} | dict(row) for row in rows)


def add_draw_options(parser: argparse.ArgumentParser, *, draws: int, csv_name: str) -> None:
    """Add the options of every benchmark that repeats itself over draws of MNIST."""
    parser.add_argument("--draws", type=int, default=draws)
    parser.add_argument("--first-draw", type=int, default=0)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--label", default="default", help="what the CSV calls these settings")
    parser.add_argument("--gan", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--classifier", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--deformation", action="append", default=[], metavar="KEY=VALUE", help="of the classical arms")
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / csv_name)


@dataclass(frozen=True, kw_only=True)
class DrawSettings:
    """What the options of `add_draw_options` ask for, on this machine."""

    gan: GanConfig
    classifier: ClassifierConfig
    deformation: DeformationConfig
    split: Split
    draws: range
    compute: Compute

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "DrawSettings":
        """Read the options.

        Raises:
            UsageError: a KEY=VALUE sets nothing.
        """
        return cls(
            gan=overridden(GanConfig(), arguments.gan),
            classifier=overridden(ClassifierConfig(), arguments.classifier),
            deformation=overridden(DeformationConfig(), arguments.deformation),
            split=arguments.split,
            draws=range(arguments.first_draw, arguments.first_draw + arguments.draws),
            compute=resolve_compute(device="auto", precision="auto"),
        )

    def digest(self, *others: object) -> str:
        """Return the digest of all that a draw's figures depend on; `others` are the benchmark's own settings."""
        configs = [config.model_dump() for config in (self.gan, self.classifier, self.deformation)]
        return digest_json([*configs, self.split, self.compute.as_dict(), *others])[:12]

    def judge(
        self, draw: int, *, added_shares: tuple[float, float], validation: LabelledImages, test: LabelledImages
    ) -> Judge:
        """Return what trains and judges the arms of a draw, on the part that was asked for."""
        return Judge(
            config=self.classifier,
            deformation=self.deformation,
            added_shares=added_shares,
            judged_on=test if self.split == "test" else validation,
            seed=draw,
            compute=self.compute,
        )

    def samples(self, subset: LabelledImages, draw: int, *, images_per_class: int) -> tuple[LabelledImages, float]:
        """Return the synthetic set of the draw's GAN, and the seconds that its training took."""
        return trained_samples(
            subset, config=self.gan, images_per_class=images_per_class, seed=draw, compute=self.compute
        )
