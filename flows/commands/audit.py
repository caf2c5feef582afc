"""`augment audit`: plant generators that cheat, and see whether the checks catch each of them."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.markup import escape
from rich.table import Table

from data.base.device import Compute, resolve_compute
from data.base.errors import UsageError
from data.base.files import write_json
from data.base.randomness import child_seed
from data.config import DEFAULT_DATASET
from data.images import LabelledImages
from data.parquet import read_published, read_subset
from data.sources.registry import Source, load_source
from evaluation.audit import AuditReport, GivenSamples, divide, run_audit
from evaluation.checks import CHECK_NAMES, Check
from evaluation.features import feature_network, instrument_directory
from flows.commands.console import output_console
from flows.commands.paths import path_option
from flows.study.config import resolve_config
from flows.study.run_directory import SUBSET_FILE
from flows.study.stages.samples import nearest_made_by
from gan.checkpoint import GENERATOR_FILE, load_generator
from gan.config import GanConfig
from gan.sampling import draw_images
from gan.training import train

QUICK_STEPS = 300
MARKS = {"passed": "·", "watch": "!", "failed": "✗", None: "-"}


def audit(
    dataset: Annotated[str, typer.Option(help="data set; auto is MNIST, else scikit-learn's digits")] = DEFAULT_DATASET,
    samples: Annotated[
        Path | None,
        path_option("also judge this synthetic data set (a cell's synthetic/ directory)"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the planted generators")] = 0,
    output: Annotated[Path | None, path_option("write the figures here, as JSON")] = None,
    gan_steps: Annotated[
        int, typer.Option(min=0, help="training steps of the quick GAN that must pass as honest; 0 leaves it out")
    ] = QUICK_STEPS,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="any key of the configuration, such as data.bits=12; repeatable, last one counts",
        ),
    ] = None,
) -> None:
    """Plant generators that cheat or fail; exit 0 when every one is caught and the honest ones pass, else 1."""
    console = output_console()
    settings = resolve_config(
        preset_name="quick", file=None, options={"data.dataset": dataset}, assignments=assignments or []
    )
    source = load_source(settings.data)
    if source.warning:
        console.print(f"[yellow]{escape(source.warning)}[/]", highlight=False)
    compute = resolve_compute(device="auto", precision="float32")
    given = given_samples(samples, source, compute=compute) if samples is not None else None
    config, divided = settings.evaluation.samples, divide(source, seed=seed)
    with console.status("reading or training the feature network") as status:
        network = feature_network(
            source.train,
            instrument_directory(),
            config=config.features,
            compute=compute,
            on_progress=lambda it: status.update(f"training the feature network: step {it.step}/{it.num_steps}"),
            on_wait=lambda: status.update("waiting for another process, which trains the feature network"),
        )
        honest = {}
        if gan_steps:
            status.update("training a quick GAN")
            quick = settings.gan.model_copy(update={"steps": gan_steps})
            honest["a quick GAN"] = quick_gan_samples(
                divided.real.subset, divided.unused, config=quick, seed=seed, compute=compute
            )
        report = run_audit(
            divided,
            network=network,
            config=config,
            seed=seed,
            on_progress=lambda it: status.update(f"judging {it.done + 1} of {it.total}: {it.generator}"),
            honest=honest,
            given=given,
        )
    console.print(audit_table(report))
    for line in audit_lines(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if output is not None:
        write_json(output, report.model_dump(mode="json") | {"passed": report.passed})
    if not report.passed:
        raise typer.Exit(1)


def quick_gan_samples(
    subset: LabelledImages, like: LabelledImages, *, config: GanConfig, seed: int, compute: Compute
) -> LabelledImages:
    """Train a GAN on the subset and draw as many images of each class as `like` holds."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        train(
            subset,
            directory,
            config=config,
            seed=child_seed(seed, "audit", "gan"),
            compute=compute,
            on_progress=lambda _: None,
        )
        generator, _ = load_generator(directory / GENERATOR_FILE)
    rng = torch.Generator().manual_seed(child_seed(seed, "audit", "samples"))
    images = draw_images(generator.to(compute.device), like.labels, rng=rng, compute=compute)
    return replace(like, images=images)


def given_samples(directory: Path, source: Source, *, compute: Compute) -> GivenSamples:
    """Read a synthetic data set, its generator `../generator` where it lies in a cell, and the subset that this saw:
    `../subset.parquet`, else all of train.

    Raises:
        UsageError: no such directory, or other classes than the data set's.
        CorruptFileError: it cannot be read.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory; --samples takes a synthetic data set")
    subset_file = directory.resolve().parent / SUBSET_FILE
    subset = _rows_of(source.train, read_subset(subset_file)) if subset_file.is_file() else source.train
    return GivenSamples(
        name=f"samples in {directory}",
        synthetic=read_published(directory),
        subset=subset,
        nearest_made=nearest_made_by(directory.resolve().parent / "generator", compute=compute),
    )


def _rows_of(train: LabelledImages, subset: LabelledImages) -> LabelledImages:
    missing = np.setdiff1d(subset.rows, train.rows)
    if len(missing):
        raise UsageError(f"the subset beside the samples holds row {missing[0]}, which {len(train):,} images lack")
    return train.take(np.flatnonzero(np.isin(train.rows, subset.rows)))


def audit_table(report: AuditReport) -> Table:
    """Return checks as rows and generators as columns; the legend is in `audit_lines`."""
    took = f"{report.num_samples:,} samples, {report.elapsed_seconds:.0f} s"
    table = Table(title=f"audit of {escape(report.dataset)}: {took}")
    table.add_column("check", no_wrap=True)
    for number in range(1, len(report.trials) + 1):
        table.add_column(str(number), justify="center", no_wrap=True, min_width=3)
    for index, name in enumerate(CHECK_NAMES):
        cells = []
        for trial in report.trials:
            mark = MARKS[trial.checks[index].grade]
            cells.append(f"({mark})" if name in trial.expected else mark)
        table.add_row(name, *cells)
    return table


def audit_lines(report: AuditReport) -> list[str]:
    """Return the legend: one line per generator with its outcome."""
    lines = ["✗ failed, ! watch, · passed, - not available; (✗) failed by a check meant for it"]
    for number, trial in enumerate(report.trials, start=1):
        flagged = ", ".join(trial.flagged_by)
        if trial.expected:
            missed = [_missed(check) for check in trial.checks if check.name in trial.expected and check.passed]
            unknown = [check.name for check in trial.checks if check.name in trial.expected and check.passed is None]
            missed += [f"'{name}' (cannot be made)" for name in unknown]
            outcome = f"caught by: {flagged}" if trial.as_expected else f"NOT caught by {', '.join(missed)}"
        elif not trial.as_expected:
            outcome = f"WRONGLY failed by: {flagged}"
            if number == len(report.trials) and trial.generator.startswith("samples in"):
                outcome = f"failed by: {flagged}"
        else:
            outcome = "passed every check of what it has seen, as it should"
            outcome += f"; its quality failed: {flagged}" if flagged else ""
        lines.append(f"{number:>2} {trial.generator}: {outcome}")
    honest = [trial for trial in report.trials if not trial.expected]
    return lines + [f"   {trial.generator}: {trial.membership.sentence()}" for trial in honest]


def _missed(check: Check) -> str:
    p_value = "" if check.p_value is None else f", p = {check.p_value:.1g}"
    figure = "" if check.figure is None else f" (figure {check.figure:.3g}{p_value})"
    return f"'{check.name}'{figure}"
