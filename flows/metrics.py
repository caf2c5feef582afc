"""What is served, as metrics for Prometheus: how the last run of each deployment went, and what it found.

Each scrape asks Prefect's server, so that a restart of `augment serve` loses nothing and nothing is polled for nobody.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, get_args

from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from data.base.errors import AugmentError
from evaluation.reporting.report import StudyReport
from evaluation.verdicts import Verdict
from flows.progress import NO_ANSWER
from flows.server import reachable_host

FIGURES_KEY = "gains-of-scheduled-studies"
GAUGES = {  # name: what it says, labels beside the deployment
    "augment_gain": ("Headline gain of the last finished study; 0.01 is one point of accuracy.", ("regime",)),
    "augment_gain_low": ("Lower end of the gain's interval.", ("regime",)),
    "augment_gain_high": ("Upper end of the gain's interval.", ("regime",)),
    "augment_verdict": ("1 for the verdict of the last finished study, 0 for the others.", ("regime", "verdict")),
    "augment_regressions": ("In how many figures the last finished study is worse than its base.", ()),
    "augment_run_duration_seconds": ("How long the last run that ended took.", ()),
    "augment_run_end_time_seconds": ("When the last run that ended did so, in seconds since 1970.", ()),
    "augment_run_succeeded": ("1 where the last run that ended completed, 0 where it failed or was ended.", ()),
}
Families = dict[str, GaugeMetricFamily]


def publish_figures(report: StudyReport, *, name: str, regressions: Sequence[str]) -> None:
    """Leave what a scheduled study found as an artifact: a table for people, and what the metrics are read from."""
    rows = [
        {
            "run": name,
            "regime": regime.name,
            "gain": regime.headline.mean,
            "low": regime.headline.low,
            "high": regime.headline.high,
            "verdict": regime.headline.verdict,
            "regressions": len(regressions),
        }
        for regime in report.regimes
    ]
    create_table_artifact(rows, key=FIGURES_KEY, description="Headline gains of the studies on a schedule")


class ServedMetrics(Collector):
    """The metrics of deployments, by their full names (flow/deployment), of the server whose API is at `api_url`."""

    def __init__(self, deployments: Sequence[str], *, api_url: str) -> None:
        self._deployments = tuple(deployments)
        self._settings = {PREFECT_API_URL: api_url, PREFECT_CLIENT_MAX_RETRIES: 0}  # a scrape does not wait

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return []  # so that registering asks no server

    def collect(self) -> Iterable[GaugeMetricFamily]:
        families = {
            name: GaugeMetricFamily(name, text, labels=("deployment", *labels))
            for name, (text, labels) in GAUGES.items()
        }
        up = 0
        with suppress(*NO_ANSWER), temporary_settings(self._settings), get_client(sync_client=True) as client:
            for name in self._deployments:
                with suppress(ObjectNotFound):
                    _add(families, name, client.read_deployment_by_name(name), client)
            up = 1
        server = GaugeMetricFamily("augment_server_up", "1 where Prefect's server answers.", value=up)
        return [server, *families.values()]


def _add(families: Families, name: str, deployment: DeploymentResponse, client: SyncPrefectClient) -> None:
    of_deployment = FlowRunFilterDeploymentId(any_=[deployment.id])
    last = _last_run(of_deployment, client)
    if last is not None and last.state is not None and last.end_time is not None:
        families["augment_run_duration_seconds"].add_metric([name], last.total_run_time.total_seconds())
        families["augment_run_end_time_seconds"].add_metric([name], last.end_time.timestamp())
        families["augment_run_succeeded"].add_metric([name], float(last.state.is_completed()))
    rows = _last_figures(of_deployment, client)
    for row in rows[:1]:  # the same in each
        families["augment_regressions"].add_metric([name], row["regressions"])
    for row in rows:
        where = [name, row["regime"]]
        for key, gauge in (("gain", "augment_gain"), ("low", "augment_gain_low"), ("high", "augment_gain_high")):
            if row[key] is not None:
                families[gauge].add_metric(where, row[key])
        for verdict in get_args(Verdict):
            families["augment_verdict"].add_metric([*where, verdict], float(row["verdict"] == verdict))


def _last_run(of_deployment: FlowRunFilterDeploymentId, client: SyncPrefectClient) -> FlowRun | None:
    ended = FlowRunFilter(
        deployment_id=of_deployment,
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(TERMINAL_STATES))),
        start_time=FlowRunFilterStartTime(is_null_=False),  # not one that was cancelled as another one was under way
    )
    found = client.read_flow_runs(flow_run_filter=ended, sort=FlowRunSort.END_TIME_DESC, limit=1)
    return found[0] if found else None


def _last_figures(of_deployment: FlowRunFilterDeploymentId, client: SyncPrefectClient) -> list[dict[str, Any]]:
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[FIGURES_KEY])),
        flow_run_filter=FlowRunFilter(deployment_id=of_deployment),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    rows: list[dict[str, Any]] = json.loads(str(found[0].data)) if found else []
    return rows


@contextmanager
def served_metrics(deployments: Sequence[str], *, api_url: str, host: str, port: int | None) -> Iterator[str]:
    """Serve the metrics while the block runs; yield their URL, "" where no port is given.

    Args:
        deployments: by their full names (flow/deployment).
        api_url: of Prefect's server.

    Raises:
        AugmentError: the port is taken.
    """
    if port is None:
        yield ""
        return
    registry = CollectorRegistry()
    registry.register(ServedMetrics(deployments, api_url=api_url))
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        message = f"cannot listen on {host}:{port} ({error.strerror}); choose another --metrics port"
        raise AugmentError(message) from error
    try:
        yield f"http://{reachable_host(host)}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
