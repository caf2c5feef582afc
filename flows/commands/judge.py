"""`augment judge`: what a ready-made synthetic set is worth."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from data.base.files import given_path
from evaluation.reporting.report import StudyReport
from evaluation.reporting.sample_rows import check_rows, fidelity_rows, membership_sentences
from flows.commands.allowing import allow_code
from flows.commands.console import output_console
from flows.commands.export import measured_privacy
from flows.commands.run import SetOption, print_report, run_study
from flows.study.config import RunnerKind, StudyConfig, resolve_runner
from flows.study.designs import seen_by_generator, study_designs
from flows.study.judging import JudgeRequest, judge_config
from flows.study.run_directory import DEFAULT_RUNS_DIRECTORY, new_run_location
from flows.study.store import store_of


def judge(
    real: Annotated[str, typer.Option(help="Labelled real images: a path, KIND:PATH, or a data set's name.")],
    synthetic: Annotated[str, typer.Option(help="Labelled synthetic images: a path or KIND:PATH.")],
    test: Annotated[
        str, typer.Option(help="Real images that the generator surely did not see, in the form of --real.")
    ] = "",
    resize: Annotated[int, typer.Option(min=0, help="Side in pixels that all images get; 0: none.")] = 0,
    replicates: Annotated[
        int | None, typer.Option(min=1, help="Trainings with --test, else folds; by default 6, or each fold twice.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Root seed of everything random.")] = None,
    assignments: SetOption = None,
    run_dir: Annotated[
        str | None, typer.Option(help="Where report.json and report.html go; a new folder below runs/ by default.")
    ] = None,
    runner: Annotated[RunnerKind | None, typer.Option(help="Where the cells run; changes no result.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Cells at a time; 0 fills the cores.")] = None,
) -> None:
    """Judge a ready-made synthetic set: fidelity, memorisation, leaks, labels, and what a classifier gains by it."""
    console = output_console()
    with console.status("reading both sets"):
        study = judge_config(
            JudgeRequest(
                real=real,
                synthetic=synthetic,
                test=test,
                resize=resize,
                settings={
                    key: value for key, value in (("replicates", replicates), ("seed", seed)) if value is not None
                },
                assignments=tuple(assignments or ()),
            )
        )
    allow_code(None, study=study)
    location = run_dir or new_run_location(DEFAULT_RUNS_DIRECTORY, study)
    report = run_study(study, location, runner=resolve_runner(file=None, kind=runner, workers=workers), console=console)
    console.print(samples_table(report))
    console.print(checks_table(report))
    for line in privacy_lines(report, study, synthetic):
        console.print(f"Who was in training: {line}", markup=False, highlight=False, soft_wrap=True)
    print_report(report, store_of(location), console=console)
    unknown = seen_by_generator(study.generator, study_designs(study))
    console.print(f"[yellow]{escape(unknown[0].upper() + unknown[1:])}.[/]", highlight=False, soft_wrap=True)


def samples_table(report: StudyReport) -> Table:
    """Return what was measured on the synthetic images, beside the same figures for real ones in their place."""
    table = Table(title=f"{escape(report.generator)}: the images themselves")
    for column in ("figure", "synthetic", "real in their place"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for row in fidelity_rows(report):
        table.add_row(row.name, _figure(row.synthetic), _figure(row.floor))
    judged = [cell.samples for cell in report.cells if cell.samples is not None]
    agreement = [figure.value for one in judged if (figure := one.labels.agreement).value is not None]
    real = [figure.value for one in judged if (figure := one.labels.agreement_real).value is not None]
    table.add_row("labels that classifiers of real images agree with", _share(agreement), _share(real))
    return table


def checks_table(report: StudyReport) -> Table:
    """Return all checks, of the study and of the images; failed ones come first."""
    table = Table(title="checks")
    for column in ("check", "result", "found"):
        table.add_column(column)
    for row in check_rows(report):
        result = (
            "[red]✗ failed[/]"
            if row.num_failed
            else "[yellow]! watch[/]"
            if row.num_watched
            else "✓ passed"
            if row.num_passed
            else "cannot tell"
        )
        table.add_row(escape(row.name), result, escape(row.detail))
    return table


def privacy_lines(report: StudyReport, study: StudyConfig, synthetic: str) -> list[str]:
    """Return what the images tell about who was in training.

    With folds, images of both sides may have been: then no attack means anything. Where the images lie in a cell, its
    own study knows what its generator saw, and has the generator's file: what it found is told too.
    """
    if study.data.design == "one data set":
        lines = ["not known; give real images that the generator surely did not see with --test"]
    else:
        lines = [sentence for _, sentence in membership_sentences(report)]
    own = measured_privacy(given_path(synthetic.rpartition(":")[2]).resolve().parent / "generator")
    return [*lines, f"as the study of this generator found: {own}"] if own else lines


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"  # noqa: RUF001


def _share(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1%}" if values else "–"  # noqa: RUF001
