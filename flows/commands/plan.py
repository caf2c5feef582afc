"""`augment plan`: a pilot, and what it says about a whole study's size."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from evaluation.arms import ARMS
from evaluation.reporting.rendering import duration
from evaluation.reporting.report import RegimeReport, StudyReport, needed_sentence
from evaluation.verdicts import is_decided
from evaluation.worth import best_seeds
from flows.commands.allowing import AllowOption, allow_code, resume_command
from flows.commands.console import output_console
from flows.commands.run import PRESET_HELP, Preset, SetOption, run_study
from flows.study.config import RunnerKind, StudyConfig, resolve_config, resolve_runner
from flows.study.run_directory import DEFAULT_RUNS_DIRECTORY, new_run_location
from flows.study.stages.arm import arm_of

PILOT_REPLICATES = 4


def plan(
    config: Annotated[Path | None, typer.Argument(help="TOML file over the preset.", show_default=False)] = None,
    preset_name: Annotated[Preset, typer.Option("--preset", help=PRESET_HELP)] = Preset.QUICK,
    dataset: Annotated[str | None, typer.Option(help="Data set, as for `augment run`.")] = None,
    images_per_class: Annotated[str | None, typer.Option(help="Regimes, as for `augment run`.")] = None,
    wished_gain: Annotated[
        float | None, typer.Option(min=0.01, max=50, help="The gain worth having, in points of accuracy.")
    ] = None,
    replicates: Annotated[int, typer.Option(min=2, help="Of the pilot.")] = PILOT_REPLICATES,
    seed: Annotated[int | None, typer.Option(help="Root seed of everything random.")] = None,
    assignments: SetOption = None,
    runner: Annotated[RunnerKind | None, typer.Option(help="Where the cells run; changes no result.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Cells at a time; 0 fills the cores.")] = None,
    run_dir: Annotated[str | None, typer.Option(help="Where the pilot works; a study can continue from there.")] = None,
    allowed: AllowOption = None,
) -> None:
    """Run a pilot, and say how many replicates and hours it takes to find or to rule out a wished gain.

    The pilot is a run like any other: `augment run --resume` makes the whole study of it.
    """
    console = output_console()
    options = {
        "data.dataset": dataset,
        "data.images_per_class": None
        if images_per_class is None
        else [part.strip() for part in images_per_class.split(",")],
        "replicates": replicates,
        "seed": seed,
        "evaluation.wished_gain": None if wished_gain is None else wished_gain / 100,
    }
    study = resolve_config(preset_name=preset_name.value, file=config, options=options, assignments=assignments or [])
    allow_code(allowed, study=study, file=config)
    chosen_runner = resolve_runner(file=config, kind=runner, workers=workers)
    location = run_dir or new_run_location(DEFAULT_RUNS_DIRECTORY, study)
    report = run_study(study, location, runner=chosen_runner, console=console)
    for line in plan_lines(report, study):
        console.print(escape(line), highlight=False, soft_wrap=True)
    console.print(
        f"continue from this pilot: {escape(resume_command(location, study))} --until-decided",
        highlight=False,
        soft_wrap=True,
    )


def plan_lines(report: StudyReport, study: StudyConfig) -> list[str]:
    """Return a line for each regime: what it takes to decide it, and how long that is on one core of this machine."""
    seeds = study.evaluation.classifier_seeds
    return [_line(regime, replicate_seconds(report, regime.name, seeds=seeds), seeds) for regime in report.regimes]


@dataclass(frozen=True, kw_only=True)
class ReplicateSeconds:
    """What a replicate took on average, in seconds of one core.

    Attributes:
        each_seed: one classifier of every arm that is trained for each seed.
        once: all else, whatever the number of seeds.
    """

    each_seed: float
    once: float

    def total(self, seeds: int) -> float:
        """Return the seconds with so many seeds."""
        return self.once + seeds * self.each_seed


def replicate_seconds(report: StudyReport, regime: str, *, seeds: int) -> ReplicateSeconds:
    """Return what a replicate of a regime took, from the timings of its stages."""
    cells = [f"{cell.regime}/{cell.replicate}" for cell in report.cells if cell.regime == regime]
    spent = [(name, cost.elapsed_seconds) for cell in cells for name, cost in report.timings[cell].items()]
    of_seeds = sum(seconds for name, seconds in spent if _is_trained_for_every_seed(name))
    everything = sum(seconds for _, seconds in spent)
    return ReplicateSeconds(each_seed=of_seeds / len(cells) / seeds, once=(everything - of_seeds) / len(cells))


def _is_trained_for_every_seed(stage: str) -> bool:
    kind, _, variant = stage.partition(" ")
    return kind == "arm" and ARMS[arm_of(variant)[0]].every_seed


def _line(regime: RegimeReport, took: ReplicateSeconds, seeds: int) -> str:
    seconds = took.total(seeds)
    start = f"{regime.title}: a replicate takes {duration(seconds)} of one core"
    if is_decided(regime.headline.verdict):
        return f"{start}; the pilot has decided it already: {regime.headline.verdict}"
    if regime.needed is None:
        return f"{start}; {regime.headline.unavailable}"
    line = f"{start}; {needed_sentence(regime.needed)}"
    times = [count * seconds for count in (regime.needed.fewest, regime.needed.most) if count is not None]
    if times:
        line += f", {' to '.join(dict.fromkeys(duration(time) for time in times))} of one core"
    parts = regime.headline.parts
    if parts is not None and parts.seeds is not None:
        best = best_seeds(
            parts.draws * regime.num_replicates,
            parts.seeds * regime.num_replicates * seeds,
            replicate_seconds=took.once,
            seed_seconds=max(took.each_seed, 1e-9),
        )
        line += f"; {best} classifier seed{'s' if best > 1 else ''} an arm narrow the interval most per second"
    return line
