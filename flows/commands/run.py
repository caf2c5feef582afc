"""`augment run`: the whole study in one command."""

import re
import shlex
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.base.errors import AugmentError, UsageError, message_of
from evaluation.arms import HEADLINE_ARM
from evaluation.gains import Gain
from evaluation.reporting.history import update_history
from evaluation.reporting.report import (
    RegimeReport,
    StudyReport,
    needed_sentence,
    read_report,
    sentences_of_arms,
    worth_sentence,
)
from evaluation.reporting.run_files import REPORT_HTML, REPORT_JSON
from evaluation.reporting.wording import Wording
from evaluation.statistics import Spread
from flows.augmentation_study import augmentation_study
from flows.commands.allowing import AllowOption, allow_code, resume_command
from flows.commands.console import output_console, silence_prefect_console
from flows.commands.progress import console_progress
from flows.progress import SERVER_ERRORS
from flows.server import study_server
from flows.study.config import (
    RunnerConfig,
    RunnerKind,
    StudyConfig,
    resolve_config,
    resolve_runner,
    validate_config,
)
from flows.study.designs import resolve_study, study_designs, study_source, study_warning
from flows.study.generators.naming import allow_generator
from flows.study.growing import Until
from flows.study.run_directory import DEFAULT_RUNS_DIRECTORY, load_config_at, new_run_location
from flows.study.stages.table import study_weight
from flows.study.store import RunStore, store_of


class Preset(StrEnum):
    """The presets as the command line names them."""

    QUICK = "quick"
    STANDARD = "standard"
    FULL = "full"


PRESET_HELP = (
    "quick: 10 images per class of a large data set, all images of a small one. "
    "standard: 10, 50, 100 and 500, longer trainings, 10 replicates. full: all images too, 20 replicates."
)
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Any configuration key; repeatable, last one counts.")
]
DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh]?)")


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
    generator: Annotated[
        str | None,
        typer.Option(
            help="gan; pca-mixture or interpolation; 'command: PROGRAM … {subset} {output}'; package.module:function; "
            "or KIND:PATH. With --resume: the run's own, named again so that it may run.",
            show_default=False,
        ),
    ] = None,
    generator_time_limit: Annotated[
        float | None, typer.Option(help="Seconds that a generator's command may take for one cell.", show_default=False)
    ] = None,
    replicates: Annotated[
        int | None, typer.Option(help="Draws of the subset per regime, or folds; with --resume, of the grown run.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Root seed of everything random.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any configuration key, like gan.learning_rate=2e-4; repeatable, last one counts.",
        ),
    ] = None,
    run_dir: Annotated[
        str | None, typer.Option(help="Where to work, a path or URL (s3://…); a new directory below runs/ by default.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Continue this run, as it was configured; --replicates and --images-per-class make it larger.",
            metavar="RUN",
        ),
    ] = None,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Add replicates until every regime is decided.")
    ] = False,
    max_replicates: Annotated[int | None, typer.Option(min=2, help="With --until-decided: no more than this.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="With --until-decided: no longer than this, such as 90s, 10m or 2h.")
    ] = None,
    runner: Annotated[
        RunnerKind | None,
        typer.Option(help="Where the cells run; changes no result. By default processes, one per core."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Cells at a time; 0 fills the cores.")] = None,
    address: Annotated[str | None, typer.Option(help="Of a Dask scheduler: tcp://host:port.")] = None,
    keep_old_stages: Annotated[
        bool,
        typer.Option("--keep-old-stages", help="With --resume: keep finished stages that other code made."),
    ] = False,
    allowed: AllowOption = None,
) -> None:
    """Measure how much GAN augmentation helps: train, sample, compare, report."""
    console = output_console()
    chosen_runner = resolve_runner(file=config, kind=runner, workers=workers, address=address)
    until = _until(until_decided, max_replicates=max_replicates, budget=budget)
    if resume is not None:
        if any(value is not None for value in (config, dataset, seed, assignments, run_dir)):
            raise UsageError(
                "--resume continues the run as it was configured; only --replicates, --images-per-class, --generator, "
                "--generator-time-limit and --until-decided go with it"
            )
        before = named_again(load_config_at(resume), generator=generator, time_limit=generator_time_limit)
        study, run_directory = grown(before, replicates=replicates, regimes=images_per_class), resume
        allow_code(allowed)
    else:
        if until is not None and replicates is not None:
            raise UsageError("--until-decided finds the number of replicates; give --max-replicates to limit it")
        options = {
            "data.dataset": dataset,
            "data.images_per_class": images_per_class,
            "generator": generator,
            "generator_time_limit": generator_time_limit,
            "replicates": 1 if until is not None else replicates,
            "seed": seed,
        }
        study = resolve_config(
            preset_name=preset_name.value, file=config, options=options, assignments=assignments or []
        )
        run_directory = run_dir or new_run_location(DEFAULT_RUNS_DIRECTORY, study)
        allow_code(allowed, study=study, file=config)
    report = run_study(
        study, run_directory, runner=chosen_runner, console=console, until=until, keep_old_stages=keep_old_stages
    )
    print_report(report, store_of(run_directory), console=console)


def named_again(study: StudyConfig, *, generator: str | None, time_limit: float | None) -> StudyConfig:
    """Return the configuration of a run that goes on, its generator allowed to run where the user names it again.

    Raises:
        UsageError: it is another generator, or an impossible time limit.
    """
    if generator is not None:
        if generator.strip() != study.generator:
            raise UsageError(f"the run's generator is {study.generator}; a run goes on with the one that it began with")
        allow_generator(study.generator)
    return study if time_limit is None else validate_config(study.model_dump() | {"generator_time_limit": time_limit})


def grown(study: StudyConfig, *, replicates: int | None, regimes: str | None) -> StudyConfig:
    """Return the configuration of a run that is to have more replicates or more regimes.

    Raises:
        UsageError: fewer replicates than it has, or an impossible regime.
    """
    tree = study.model_dump()
    if replicates is not None:
        if replicates < study.num_replicates:
            raise UsageError(f"the run has {study.num_replicates} replicates already; ask for more of them")
        tree["replicates"] = replicates
    if regimes is not None:
        added = validate_config({"data": {"images_per_class": regimes}}).regime_values
        tree["data"]["images_per_class"] = list(dict.fromkeys([*study.regime_values, *added]))
    return validate_config(tree)


def _until(asked: bool, *, max_replicates: int | None, budget: str | None) -> Until | None:
    if not asked:
        if max_replicates is not None or budget is not None:
            raise UsageError("--max-replicates and --budget go with --until-decided")
        return None
    limits = {} if max_replicates is None else {"max_replicates": max_replicates}
    return Until(**limits, budget_seconds=None if budget is None else seconds_of(budget))


def seconds_of(duration: str) -> float:
    """Return the seconds of a text such as 90, 90s, 10m or 2h.

    Raises:
        UsageError: it is no duration, or 0.
    """
    match = DURATION.fullmatch(duration.strip())
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if seconds <= 0:
        raise UsageError(f"--budget {duration!r} is no duration; write for example 90s, 10m or 2h")
    return seconds


def run_study(
    study: StudyConfig,
    run_directory: str,
    *,
    runner: RunnerConfig,
    console: Console,
    until: Until | None = None,
    keep_old_stages: bool = False,
) -> StudyReport:
    """Run the flow with progress on `console`, and return its report."""
    silence_prefect_console()
    source = study_source(study.data)
    study = resolve_study(study, source)
    if warning := study_warning(source, study_designs(study), generator=study.generator):
        console.print(f"[bold black on yellow] WARNING [/] [yellow]{escape(warning)}[/]", highlight=False)
    regimes = ", ".join(regime.title for regime in study.regimes)
    many = "replicates until decided" if until is not None else f"{study.replicates} replicates"
    console.print(
        f"[bold]augmentation study[/] of {escape(source.name)}: {escape(regimes)}; {many}, seed {study.seed}, in "
        f"{escape(run_directory)}",
        highlight=False,
        soft_wrap=True,
    )
    for name, design in study_designs(study).items():
        console.print(f"{escape(name)}: {escape(design.sentence)}", highlight=False, soft_wrap=True)
    try:
        with study_server(), console_progress(console, total_weight=study_weight(study)):
            augmentation_study(study, run_directory, runner=runner, until=until, keep_old_stages=keep_old_stages)
    except KeyboardInterrupt:
        console.print(f"interrupted; continue with: {escape(resume_command(run_directory, study))}", highlight=False)
        raise typer.Exit(130) from None
    except SERVER_ERRORS as error:
        reason = message_of(error)
        raise AugmentError(
            f"Prefect's server went away ({reason}); what is finished is kept, "
            f"continue with: {resume_command(run_directory, study)}"
        ) from error
    store = store_of(run_directory)
    if store.is_local:
        try:
            update_history(Path(store.location).absolute().parent)
        except AugmentError as error:
            console.print(f"note: no index of runs: {escape(str(error))}", highlight=False, soft_wrap=True)
    with store.fetched(REPORT_JSON) as directory:
        return read_report(directory / REPORT_JSON)


def print_report(report: StudyReport, store: RunStore, *, console: Console) -> None:
    """Print the table of gains, the verdicts and where the report is."""
    console.print(gain_table(report, wide=console.width >= WIDE_TABLE))
    for regime in report.regimes:
        console.print(escape(regime.sentence), highlight=False, soft_wrap=True)
        for line in _more_sentences(regime, report, store):
            console.print(escape(f"  {line}"), highlight=False, soft_wrap=True)
        for check in regime.checks:
            if check.passed is False:
                console.print(f"  [red]✗[/] {escape(check.name)}: {escape(check.detail)}", highlight=False)
    console.print(f"report: {escape(store.child(REPORT_HTML).location)}", highlight=False, soft_wrap=True)


def _more_sentences(regime: RegimeReport, report: StudyReport, store: RunStore) -> Iterator[str]:
    """Yield what is to be said of a regime below its verdict."""
    if regime.augmentation is not None:
        yield regime.augmentation.sentence
    if regime.needed is not None:
        command = shlex.join(["augment", "run", "--resume", store.location, "--until-decided"])
        more = f" ({command})" if regime.needed.fewest else ""
        yield f"{needed_sentence(regime.needed)}{more}"
    if regime.labels_worth is not None:
        yield worth_sentence(regime.labels_worth)
    yield from sentences_of_arms(regime, confidence=report.confidence, wording=Wording(report.generator))


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
