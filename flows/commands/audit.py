"""`augment audit`: plant generators that cheat, and see whether the checks catch each of them."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from data.base.device import resolve_compute
from data.base.errors import UsageError
from data.base.files import write_json
from data.config import DEFAULT_DATASET
from data.images import LabelledImages
from data.parquet import read_published, read_subset
from data.sources.registry import Source, load_source
from evaluation.audit import AuditReport, GivenSamples, run_audit
from evaluation.checks import CHECK_NAMES
from evaluation.config import SamplesConfig
from evaluation.features import feature_network, instrument_directory
from flows.commands.console import output_console


def audit(
    dataset: Annotated[str, typer.Option(help="data set; auto is MNIST, else scikit-learn's digits")] = DEFAULT_DATASET,
    samples: Annotated[
        Path | None, typer.Option(help="also judge this synthetic data set (a cell's synthetic/ directory)")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the planted generators")] = 0,
    output: Annotated[Path | None, typer.Option(help="write the figures here, as JSON")] = None,
) -> None:
    """Plant generators that cheat or fail; exit 0 when every one is caught and the honest one passes, else 1."""
    console = output_console()
    source = load_source(dataset)
    if source.warning:
        console.print(f"[yellow]{source.warning}[/]")
    given = given_samples(samples, source) if samples is not None else None
    config = SamplesConfig()
    compute = resolve_compute(device="auto", precision="float32")
    with console.status("reading or training the feature network") as status:
        network = feature_network(
            source.train,
            instrument_directory(),
            config=config.features,
            compute=compute,
            on_progress=lambda it: status.update(f"training the feature network: step {it.step}/{it.num_steps}"),
        )
        report = run_audit(
            source,
            network=network,
            config=config,
            seed=seed,
            on_progress=lambda it: status.update(f"judging {it.done + 1} of {it.total}: {it.generator}"),
            given=given,
        )
    console.print(audit_table(report))
    for line in audit_lines(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if output is not None:
        write_json(output, report.model_dump(mode="json") | {"passed": report.passed})
    if not report.passed:
        raise typer.Exit(1)


def given_samples(directory: Path, source: Source) -> GivenSamples:
    """Read a synthetic data set, and the subset its generator saw: `../subset.parquet` as in a cell, else all of train.

    Raises:
        UsageError: no such directory, or other classes than the data set's.
        CorruptFileError: it cannot be read.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory; --samples takes a synthetic data set")
    subset_file = directory.resolve().parent / "subset.parquet"
    subset = _rows_of(source.train, read_subset(subset_file)) if subset_file.is_file() else source.train
    return GivenSamples(name=f"samples in {directory}", synthetic=read_published(directory), subset=subset)


def _rows_of(train: LabelledImages, subset: LabelledImages) -> LabelledImages:
    missing = np.setdiff1d(subset.rows, train.rows)
    if len(missing):
        raise UsageError(f"the subset beside the samples holds row {missing[0]}, which {len(train):,} images lack")
    return train.take(np.flatnonzero(np.isin(train.rows, subset.rows)))


def audit_table(report: AuditReport) -> Table:
    """Return checks as rows and generators as columns: ✗ flagged, · passed, - not available; [ ] marks what must be."""
    table = Table(title=f"audit of {report.dataset}: {report.num_samples:,} samples, {report.elapsed_seconds:.0f} s")
    table.add_column("check")
    for number in range(1, len(report.trials) + 1):
        table.add_column(str(number), justify="center")
    for index, name in enumerate(CHECK_NAMES):
        cells = []
        for trial in report.trials:
            mark = {True: "·", False: "✗", None: "-"}[trial.checks[index].passed]
            meant = trial.expected == name
            cells.append(f"({mark})" if meant else mark)
        table.add_row(name, *cells)
    return table


def audit_lines(report: AuditReport) -> list[str]:
    """Return the legend: one line per generator with its outcome."""
    lines = ["✗ flagged, · passed, - not available; (✗) by the check meant for it"]
    for number, trial in enumerate(report.trials, start=1):
        flagged = ", ".join(trial.flagged_by)
        if trial.expected is None:
            outcome = f"WRONGLY flagged by: {flagged}" if flagged else "passed every check, as it should"
            if flagged and number == len(report.trials) and trial.generator.startswith("samples in"):
                outcome = f"flagged by: {flagged}"
        else:
            outcome = f"caught by: {flagged}" if trial.as_expected else f"NOT caught by '{trial.expected}'"
        lines.append(f"{number:>2} {trial.generator}: {outcome}")
    return lines
