"""The functions behind `import augmentation_gain`: thin, over the rooms that do the work."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.base.errors import UsageError
from data.base.plugins import allow
from data.decoding import encode_pngs
from data.images import LabelledImages
from data.parquet import write_published_shard
from evaluation.reporting.comparison import Comparison, NamedReport, compare_reports
from evaluation.reporting.report import StudyReport, read_report
from flows.study.config import resolve_config
from flows.study.reporting import REPORT_JSON
from flows.study.running import run_study


def study(
    images: npt.NDArray[np.uint8] | str | Path,
    labels: npt.ArrayLike | None = None,
    *,
    directory: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> StudyReport:
    """Measure how much GAN augmentation helps on labelled images, and return the report.

    Args:
        images: (N, H, W) or (N, H, W, C) uint8, C = 1 or 3; or the name of a data set as `--dataset` takes it.
        labels: (N,) class numbers or names; None where `images` names a data set.
        directory: where the run is kept; a folder of its own that is removed at the end where none is given.
        settings: configuration keys with values, such as {"replicates": 10, "data.images_per_class": (10,)}.

    Raises:
        UsageError: images without labels, of an impossible shape, or a configuration that cannot be.
        AugmentError: the data cannot make a study.
    """
    with tempfile.TemporaryDirectory(prefix="augment-") as scratch:
        dataset = str(images) if isinstance(images, str | Path) else _written(images, labels, Path(scratch) / "images")
        options = {"data.dataset": dataset, **(settings or {})}
        config = resolve_config(preset_name="quick", file=None, options=options, assignments=[])
        for reference in config.named_code:
            allow(reference)
        run = Path(directory) if directory is not None else Path(scratch) / "run"
        run_study(config, run)
        return read_report(run / REPORT_JSON)


def load_report(run: str | Path) -> StudyReport:
    """Read the report of a finished run, by its directory or its report.json.

    Raises:
        CorruptFileError: missing, damaged, or written by another version.
    """
    path = Path(run)
    return read_report(path / REPORT_JSON if path.is_dir() else path)


def compare(runs: Sequence[str | Path], *, force: bool = False) -> Comparison:
    """Hold every later run against the first.

    Raises:
        UsageError: fewer than two runs, or runs that cannot be compared.
        CorruptFileError: a report that cannot be read.
    """
    named = [NamedReport(name=Path(run).name, link="", report=load_report(run)) for run in runs]
    return compare_reports(named, force=force)


def _written(images: npt.NDArray[np.uint8], labels: npt.ArrayLike | None, directory: Path) -> str:
    """Write arrays as a Parquet data set, and return its name."""
    if labels is None:
        raise UsageError("images need labels; give one for each, or name a data set such as 'mnist' or 'folder:PATH'")
    names, numbers = np.unique(np.asarray(labels), return_inverse=True)
    if images.ndim not in (3, 4) or images.dtype != np.uint8 or len(images) != len(numbers):
        raise UsageError(
            f"images must be (N, H, W) or (N, H, W, C) uint8 with N labels, not {images.shape} {images.dtype} with "
            f"{len(numbers)} labels"
        )
    planes = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    made = LabelledImages(
        images=np.ascontiguousarray(planes),
        labels=numbers.astype(np.int64),
        rows=np.arange(len(numbers), dtype=np.int64),
        class_names=tuple(str(name) for name in names),
    )
    write_published_shard(
        directory / "data" / "train-00000-of-00001.parquet",
        encoded=encode_pngs(made.images),
        labels=made.labels,
        names=[f"{row:08d}.png" for row in made.rows],
        class_names=made.class_names,
        extra={},
    )
    return f"parquet:{directory}"
