"""`augment serve`: the study on a schedule, unattended."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from prefect.settings import PREFECT_API_URL
from rich.console import Console
from rich.markup import escape

from data.base.errors import AugmentError, UsageError, message_of
from data.base.names import safe_file_name
from data.sources.registry import missing_data
from flows.commands.allowing import AllowOption, allow_code
from flows.commands.console import output_console
from flows.commands.run import PRESET_HELP, Preset, SetOption
from flows.metrics import served_metrics
from flows.pages import served_pages
from flows.progress import SERVER_ERRORS
from flows.schedule import OnRegression
from flows.server import (
    PrefectServer,
    api_url_everywhere,
    check_server,
    end_dead_runs,
    is_loopback,
    running_server,
    server_home,
)
from flows.serving import (
    ServedStudy,
    checked_name,
    checked_timetable,
    deployments,
    keep_serving,
    keep_what_people_set,
    next_runs_line,
    served_from,
)
from flows.study.config import RunnerKind, resolve_config, resolve_runner
from flows.study.run_directory import DEFAULT_RUNS_DIRECTORY, locked
from flows.study.store import store_of

INTERRUPTED = 130  # exit code after Ctrl-C


def serve(
    config: Annotated[Path | None, typer.Argument(help="TOML file over the preset.", show_default=False)] = None,
    cron: Annotated[str | None, typer.Option(help='When to run, such as "0 3 * * *" (every night at three).')] = None,
    interval: Annotated[float | None, typer.Option(help="Seconds between runs, instead of --cron.")] = None,
    timezone: Annotated[
        str | None,
        typer.Option(help="Time zone of --cron, such as Europe/Berlin.", show_default="the machine's own"),
    ] = None,
    preset_name: Annotated[Preset, typer.Option("--preset", help=PRESET_HELP)] = Preset.QUICK,
    assignments: SetOption = None,
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
    pages_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the runs' pages.", show_default="4201, or a free one"),
    ] = None,
    metrics: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of metrics for Prometheus.", show_default="none are served"),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a deployment of this name that another command made.")
    ] = False,
    allowed: AllowOption = None,
) -> None:
    """Run studies on a schedule, with Prefect's user interface beside them; stays until interrupted.

    Where PREFECT_API_URL names a server, the deployment goes there; otherwise one is started here.
    """
    study = resolve_config(preset_name=preset_name.value, file=config, options={}, assignments=assignments or [])
    allow_code(allowed, study=study, file=config)  # the processes of the runs inherit it
    job = ServedStudy(
        config=study,
        runs_directory=located(runs_directory),
        runner=resolve_runner(file=config, kind=runner),
        on_regression=on_regression,
    )
    timetable = checked_timetable(cron=cron, interval=interval, timezone=timezone)
    store_of(job.runs_directory).check_writable()  # and not in the night
    missing = missing_data(study.data)
    console = output_console()

    def tell(line: str) -> None:
        console.print(escape(line), highlight=False, soft_wrap=True)

    if study.replicates == 1:
        tell("note: with one replicate there is no interval, so no run can be told to be worse than the one before it")
    if missing:
        tell(f"note: {missing}; a run that comes due meanwhile fails")
    with (
        ended_by_signals(),
        served_pages(store_of(job.runs_directory), host=host, port=pages_port) as pages,
        _server_for(checked_name(name), host=host, port=port, console=console) as server,
    ):
        served = deployments(job, name=name, timetable=timetable, machine=served_from(shared_server=server.own is None))
        notes = keep_what_people_set(served, replace=replace)
        tell(
            f"serving scheduled_study/{name} ({timetable}); runs go to {job.runs_directory}\n"
            f"on request: augmentation_export/{name}, augmentation_comparison/{name}\n"
            f"user interface: {server.url.removesuffix('/api')}; pages of the runs: {pages}\n"
            f"run it now: PREFECT_API_URL={server.url} prefect deployment run {shlex.quote(served[0].full_name)}"
        )
        for line in [next_runs_line(served[0]), *notes]:
            if line:
                tell(line)
        names = [each.full_name for each in served]
        with served_metrics(names, api_url=server.url, host=host, port=metrics) as metrics_url:
            if metrics_url:
                tell(f"metrics for Prometheus: {metrics_url}")
            ending = keep_serving(served, server=server.own, tell=tell)
        with suppress(*SERVER_ERRORS):
            end_dead_runs(name, message="augment serve ended while this run was under way")
    if ending == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Leave the block in order on SIGTERM (exit code 0) and Ctrl-C (130), wherever it is."""

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except SERVER_ERRORS as error:
        reason = message_of(error)
        raise AugmentError(f"Prefect's server went away ({reason}); start augment serve again") from error
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True, kw_only=True)
class ChosenServer:
    """Where deployments are served: the API's URL, and the server itself if it is this process's own."""

    url: str
    own: PrefectServer | None


@contextmanager
def _server_for(name: str, *, host: str, port: int, console: Console) -> Iterator[ChosenServer]:
    """Yield the server that is configured, else one that runs while the block does."""
    configured = PREFECT_API_URL.value()
    if configured:
        check_server(configured)
        with api_url_everywhere(configured):  # the processes of the runs too
            yield ChosenServer(url=configured, own=None)
        return
    if not is_loopback(host):
        warning = f"whoever reaches {host} can start runs here: the server asks for no password"
        console.print(f"[bold black on yellow] WARNING [/] [yellow]{escape(warning)}[/]", highlight=False)
    console.print("starting a Prefect server …", highlight=False)
    with alone(name), running_server(host=host, port=port) as server, api_url_everywhere(server.url):
        for run in end_dead_runs(name, message="the server ended while this run was under way"):
            console.print(f"{run} was under way when its server ended; it is marked as crashed", highlight=False)
        yield ChosenServer(url=server.url, own=server)


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


def located(runs_directory: str) -> str:
    """Return a place that means the same in every process: an absolute path, or the URL."""
    store = store_of(runs_directory)
    return str(Path(store.location).resolve()) if store.is_local else store.location
