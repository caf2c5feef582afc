"""`augment run`: the whole study in one command."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.base.errors import AugmentError, UsageError
from evaluation.arms import HEADLINE_ARM
from evaluation.reporting.history import update_history
from evaluation.reporting.report import StudyReport, read_report
from evaluation.statistics import Gain, Spread
from flows.augmentation_study import augmentation_study
from flows.commands.console import output_console, silence_prefect_console
from flows.commands.progress import console_progress
from flows.progress import SERVER_ERRORS
from flows.server import study_server
from flows.study.config import RunnerConfig, RunnerKind, StudyConfig, resolve_config, resolve_runner
from flows.study.reporting import REPORT_HTML, REPORT_JSON
from flows.study.run_directory import DEFAULT_RUNS_DIRECTORY, load_config_at, new_run_location
from flows.study.running import study_source
from flows.study.stages.table import study_weight
from flows.study.store import RunStore, store_of


class Preset(StrEnum):
    """The presets as the command line names them."""

    QUICK = "quick"
    STANDARD = "standard"
    FULL = "full"


PRESET_HELP = (
    "quick: 10 and 100 images per class, 3 replicates, about 5 minutes on 2 cores. "
    "standard: 10, 50, 100 and 500, 5 replicates, about 40 minutes. "
    "full: all images too, 10 replicates, about 2 hours."
)


def run(
    config: Annotated[Path | None, typer.Argument(help="TOML file over the preset.", show_default=False)] = None,
    preset_name: Annotated[Preset, typer.Option("--preset", help=PRESET_HELP)] = Preset.QUICK,
    dataset: Annotated[
        str | None,
        typer.Option(help="Data set; auto is MNIST, else scikit-learn's digits. `augment datasets` lists them."),
    ] = None,
    images_per_class: Annotated[
        str | None,
        typer.Option(help="Regimes, separated by commas: 10,100, all, long-tailed:500:100 (largest class, ratio)."),
    ] = None,
    replicates: Annotated[int | None, typer.Option(help="Draws of the subset per regime.")] = None,
    seed: Annotated[int | None, typer.Option(help="Root seed of everything random.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any configuration key, such as gan.learning_rate=2e-4; may be repeated."),
    ] = None,
    run_dir: Annotated[
        str | None, typer.Option(help="Where to work, a path or URL (s3://…); a new directory below runs/ by default.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(help="Go on with this run, as it was configured.", metavar="RUN")
    ] = None,
    runner: Annotated[
        RunnerKind | None,
        typer.Option(help="Where the cells run; changes no result. By default processes, one per core."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Cells at a time; 0 fills the cores.")] = None,
    address: Annotated[str | None, typer.Option(help="Of a Dask scheduler: tcp://host:port.")] = None,
) -> None:
    """Measure how much GAN augmentation helps: train, sample, compare, report."""
    console = output_console()
    chosen_runner = resolve_runner(file=config, kind=runner, workers=workers, address=address)
    if resume is not None:
        given = [config, dataset, images_per_class, replicates, seed, assignments, run_dir]
        if any(value is not None for value in given):
            raise UsageError("--resume goes on with the run as it was configured; leave the other options out")
        study, run_directory = load_config_at(resume), resume
    else:
        options = {
            "data.dataset": dataset,
            "data.images_per_class": None
            if images_per_class is None
            else [part.strip() for part in images_per_class.split(",")],
            "replicates": replicates,
            "seed": seed,
        }
        study = resolve_config(
            preset_name=preset_name.value, file=config, options=options, assignments=assignments or []
        )
        run_directory = run_dir or new_run_location(DEFAULT_RUNS_DIRECTORY, study)
    run_study(study, run_directory, runner=chosen_runner, console=console)


def run_study(study: StudyConfig, run_directory: str, *, runner: RunnerConfig, console: Console) -> None:
    """Run the flow with progress on `console`, then print the table of gains, the verdict and where the report is."""
    regimes = ", ".join(str(count) for count in study.data.images_per_class)
    console.print(
        f"[bold]augmentation study[/] of {escape(study.data.dataset)}: {escape(regimes)} images per class, "
        f"{study.replicates} replicates, seed {study.seed}, in {escape(run_directory)}",
        highlight=False,
        soft_wrap=True,
    )
    silence_prefect_console()
    source = study_source(study.data)
    if source.warning:
        console.print(f"[bold black on yellow] WARNING [/] [yellow]{escape(source.warning)}[/]", highlight=False)
    try:
        with study_server(), console_progress(console, total_weight=study_weight(study)):
            augmentation_study(study, run_directory, runner=runner)
    except KeyboardInterrupt:
        console.print(f"interrupted; go on with: augment run --resume {escape(run_directory)}", highlight=False)
        raise typer.Exit(130) from None
    except SERVER_ERRORS as error:
        raise AugmentError(
            f"Prefect's server went away ({type(error).__name__}); what is finished is kept, "
            f"go on with: augment run --resume {run_directory}"
        ) from error
    store = store_of(run_directory)
    if store.is_local:
        update_history(Path(run_directory).parent)
    with store.fetched(REPORT_JSON) as directory:
        print_report(read_report(directory / REPORT_JSON), store, console=console)


def print_report(report: StudyReport, store: RunStore, *, console: Console) -> None:
    """Print the table of gains, the verdicts and where the report is."""
    console.print(gain_table(report, wide=console.width >= WIDE_TABLE))
    for regime in report.regimes:
        console.print(escape(regime.sentence), highlight=False, soft_wrap=True)
    console.print(f"report: {escape(store.child(REPORT_HTML).location)}", highlight=False, soft_wrap=True)


WIDE_TABLE = 136  # characters


def gain_table(report: StudyReport, *, wide: bool) -> Table:
    """Return the table of all arms: accuracy and paired gain with interval; `wide` has macro-F1 and verdicts too."""
    table = Table(
        title=f"{escape(report.dataset.name)}: accuracy and paired gain with {report.confidence:.0%} intervals (points)"
    )
    table.add_column("arm", no_wrap=True)
    table.add_column("accuracy %", justify="right", no_wrap=True)
    if wide:
        table.add_column("macro-F1 %", justify="right", no_wrap=True)
    table.add_column("gain", no_wrap=True)
    if wide:
        table.add_column("over", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
    for regime in report.regimes:
        table.add_row(f"[italic]{escape(regime.title)}, {regime.num_replicates} replicates[/]")
        for arm in regime.arms:
            gain = arm.accuracy_gain
            cells = [f"  {arm.name}", _with_spread(arm.accuracy), _with_interval(gain) if gain else ""]
            if wide:
                cells.insert(2, _with_spread(arm.macro_f1))
                cells += [arm.reference or "", gain.verdict if gain else ""]
            table.add_row(*cells, style="bold" if arm.name == HEADLINE_ARM else None)
        table.add_section()
    return table


def _with_interval(gain: Gain) -> str:
    interval = "" if gain.low is None or gain.high is None else f" ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})"
    return f"{100 * gain.mean:+.2f}{interval}"


def _with_spread(spread: Spread) -> str:
    return f"{100 * spread.mean:.2f}" if spread.sd is None else f"{100 * spread.mean:.2f} ± {100 * spread.sd:.2f}"
