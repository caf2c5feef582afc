"""`augment serve`: the study on a schedule, unattended."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from prefect import serve as prefect_serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from data.errors import UsageError
from flows.commands.console import output_console
from flows.commands.run import PRESET_HELP, Preset
from flows.config import StudyConfig, resolve_config
from flows.run_directory import DEFAULT_RUNS_DIRECTORY
from flows.server import prefect_server
from flows.study import augmentation_study


def serve(
    config: Annotated[Path | None, typer.Argument(help="TOML file over the preset.", show_default=False)] = None,
    cron: Annotated[str | None, typer.Option(help='When to run, such as "0 3 * * *" (every night at three).')] = None,
    interval: Annotated[float | None, typer.Option(help="Seconds between runs, instead of --cron.")] = None,
    preset_name: Annotated[Preset, typer.Option("--preset", help=PRESET_HELP)] = Preset.QUICK,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Any configuration key; may be repeated.")
    ] = None,
    runs_directory: Annotated[Path, typer.Option(help="Where the runs go.")] = DEFAULT_RUNS_DIRECTORY,
    name: Annotated[str, typer.Option(help="Name of the deployment.")] = "scheduled",
    host: Annotated[str, typer.Option(help="Address that the server binds to.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the server and its user interface; 0 takes a free one.")] = 4200,
) -> None:
    """Run studies on a schedule, with Prefect's user interface beside them; stays until interrupted.

    Where PREFECT_API_URL names a server, the deployment goes there; otherwise one is started here.
    """
    study = resolve_config(preset_name=preset_name.value, file=config, options={}, assignments=assignments or [])
    deployment = study_deployment(study, name=name, cron=cron, interval=interval, runs_directory=runs_directory)
    console = output_console()
    with ExitStack() as stack:
        url = os.environ.get("PREFECT_API_URL")
        if not url:
            console.print("starting a Prefect server …", highlight=False)
            url = stack.enter_context(prefect_server(host=host, port=port))
            os.environ["PREFECT_API_URL"] = url  # the processes of the runs find it there
        stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
        when = f"cron {cron}" if cron else f"every {interval:g} s" if interval else "on request"
        console.print(
            f"serving augmentation_study/{name} ({when}); runs go to {runs_directory.resolve()}\n"
            f"user interface: {url.removesuffix('/api')}\n"
            f"run it now: prefect deployment run augmentation_study/{name}",
            highlight=False,
            soft_wrap=True,
        )
        prefect_serve(deployment, pause_on_shutdown=False, print_starting_message=False)


def study_deployment(
    study: StudyConfig, *, name: str, cron: str | None, interval: float | None, runs_directory: Path
) -> RunnerDeployment:
    """Return the deployment: one run at a time; a run that comes due during another is cancelled.

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
    parameters = {"config": study.model_dump(mode="json"), "runs_directory": str(runs_directory.resolve())}
    return augmentation_study.to_deployment(  # type: ignore[return-value]
        name=name,
        cron=cron,
        interval=interval,
        parameters=parameters,
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
