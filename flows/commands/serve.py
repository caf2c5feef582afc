"""`augment serve`: the study on a schedule, unattended."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect import serve as prefect_serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from data.base.errors import UsageError
from data.base.names import safe_file_name
from flows.commands.console import output_console
from flows.commands.run import PRESET_HELP, Preset
from flows.schedule import OnRegression, augmentation_comparison, augmentation_export, scheduled_study
from flows.server import api_url_everywhere, end_dead_runs, is_loopback, prefect_server, server_home
from flows.study.config import RunnerConfig, RunnerKind, StudyConfig, resolve_config, resolve_runner
from flows.study.run_directory import DEFAULT_RUNS_DIRECTORY, locked
from flows.study.store import store_of


def serve(
    config: Annotated[Path | None, typer.Argument(help="TOML file over the preset.", show_default=False)] = None,
    cron: Annotated[str | None, typer.Option(help='When to run, such as "0 3 * * *" (every night at three).')] = None,
    interval: Annotated[float | None, typer.Option(help="Seconds between runs, instead of --cron.")] = None,
    preset_name: Annotated[Preset, typer.Option("--preset", help=PRESET_HELP)] = Preset.QUICK,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Any configuration key; may be repeated.")
    ] = None,
    runs_directory: Annotated[str, typer.Option(help="Where the runs go, a path or URL.")] = str(
        DEFAULT_RUNS_DIRECTORY
    ),
    on_regression: Annotated[
        OnRegression, typer.Option(help="Fail, or only warn, when a run is worse than the last good one.")
    ] = "fail",
    runner: Annotated[RunnerKind | None, typer.Option(help="Where the cells run; changes no result.")] = None,
    name: Annotated[str, typer.Option(help="Name of the deployment.")] = "scheduled",
    host: Annotated[str, typer.Option(help="Address that the server binds to.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the server and its user interface; 0 takes a free one.")
    ] = 4200,
) -> None:
    """Run studies on a schedule, with Prefect's user interface beside them; stays until interrupted.

    Where PREFECT_API_URL names a server, the deployment goes there; otherwise one is started here.
    """
    study = resolve_config(preset_name=preset_name.value, file=config, options={}, assignments=assignments or [])
    job = ServedStudy(
        config=study,
        runs_directory=located(runs_directory),
        runner=resolve_runner(file=config, kind=runner),
        on_regression=on_regression,
    )
    served = deployments(job, name=name, schedule=checked_schedule(cron=cron, interval=interval))
    console = output_console()
    if study.replicates == 1:
        console.print(
            "note: with one replicate there is no interval, so no run can be told to be worse than the one before it",
            highlight=False,
        )
    with _server_of(name, host=host, port=port, console=console) as url:
        when = f"cron {cron}" if cron else f"every {interval:g} s" if interval else "on request"
        console.print(
            f"serving scheduled_study/{name} ({when}); runs go to {job.runs_directory}\n"
            f"on request: augmentation_export/{name}, augmentation_comparison/{name}\n"
            f"user interface: {url.removesuffix('/api')}\n"
            f"run it now: PREFECT_API_URL={url} prefect deployment run scheduled_study/{name}",
            highlight=False,
            soft_wrap=True,
        )
        prefect_serve(*served, pause_on_shutdown=False, print_starting_message=False)


@contextmanager
def _server_of(name: str, *, host: str, port: int, console: Console) -> Iterator[str]:
    """Yield the API's URL of the server that is configured, else of one that runs while the block does."""
    configured = PREFECT_API_URL.value()
    if configured:
        with api_url_everywhere(configured):  # the processes of the runs too
            yield configured
        return
    if not is_loopback(host):
        warning = f"whoever reaches {host} can start runs here: the server asks for no password"
        console.print(f"[bold black on yellow] WARNING [/] [yellow]{escape(warning)}[/]", highlight=False)
    console.print("starting a Prefect server …", highlight=False)
    with alone(name), prefect_server(host=host, port=port) as url, api_url_everywhere(url):
        for run in end_dead_runs(name):
            console.print(f"{run} was under way when its server ended; it is marked as crashed", highlight=False)
        yield url


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Let no second process serve deployments of this name from the same database: it would end this one's runs.

    Raises:
        UsageError: one does already.
        AugmentError: PREFECT_HOME cannot be written.
    """
    file = server_home() / f"serve-{safe_file_name(name)}.lock"
    busy = UsageError(f"another augment serve --name {name} is running here; give this one another --name")
    with locked(file, busy=busy, advice="set PREFECT_HOME to a folder of yours"):
        yield


@dataclass(frozen=True, kw_only=True)
class ServedStudy:
    """What is run again and again; `runs_directory` is an absolute path or a URL."""

    config: StudyConfig
    runs_directory: str
    runner: RunnerConfig
    on_regression: OnRegression


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """When a deployment runs: by a cron expression, every so many seconds, or on request only."""

    cron: str | None
    interval: float | None


def checked_schedule(*, cron: str | None, interval: float | None) -> Timetable:
    """Return the schedule that the options ask for.

    Raises:
        UsageError: not a cron expression, not a positive interval, or both.
    """
    if cron is not None and interval is not None:
        raise UsageError("give either --cron or --interval, not both")
    if cron is not None:
        try:
            CronSchedule(cron=cron)
        except ValidationError as error:
            example = '"0 3 * * *" is every night at three'
            raise UsageError(f"--cron {cron!r} is not a cron expression; for example {example}") from error
    if interval is not None and interval <= 0:
        raise UsageError(f"--interval must be positive, not {interval:g}")
    return Timetable(cron=cron, interval=interval)


def located(runs_directory: str) -> str:
    """Return a place that means the same in every process: an absolute path, or the URL."""
    return str(Path(runs_directory).resolve()) if store_of(runs_directory).is_local else runs_directory


def deployments(job: ServedStudy, *, name: str, schedule: Timetable) -> list[RunnerDeployment]:
    """Return the deployments of study, comparison and export; the study is on schedule, the others run on request.

    One run of each at a time; a run that comes due during another is cancelled.
    """
    study: dict[str, Any] = {
        "config": job.config.model_dump(mode="json"),
        "runs_directory": job.runs_directory,
        "on_regression": job.on_regression,
    }
    runner = {"runner": job.runner.model_dump(mode="json")}
    common: dict[str, Any] = {
        "name": name,
        "concurrency_limit": ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        "entrypoint_type": EntrypointType.MODULE_PATH,
    }
    served: list[Any] = [  # typed as possible coroutines, which they are inside an event loop only
        scheduled_study.to_deployment(
            parameters=study | runner, cron=schedule.cron, interval=schedule.interval, **common
        ),
        augmentation_comparison.to_deployment(parameters=study, **common),
        augmentation_export.to_deployment(**common),
    ]
    return served
