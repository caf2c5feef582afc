"""What Prefect's database may forget: flow runs of this project that ended long ago, with all that hangs on them.

A study of ten cells leaves about 0.4 MB there: flow and task runs, their states, log lines and artifacts. The runs'
own folders are another matter (`flows.study.retention`).
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

FLOWS = ("scheduled_study", "augmentation_study", "augmentation_comparison", "augmentation_export")
PAGE = 200  # Prefect's largest
LOG_SECONDS = 20.0  # in which the server removes the log lines of what is forgotten, by itself


def old_flow_runs(*, keep: int, older_than: timedelta, now: datetime) -> list[FlowRun]:
    """Return the flow runs that may go, newest first: those that somebody started, and then those inside them.

    Never one of another project's flow, one that has not ended, or one inside a run that stays.

    Args:
        keep: so many of the newest of each flow stay.
        older_than: what ended later stays.
    """
    seen: Counter[object] = Counter()
    going: list[FlowRun] = []
    with get_client(sync_client=True) as client:
        ended = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(TERMINAL_STATES))),
        )
        for run in _flow_runs(client, ended, flows=FlowFilter(name=FlowFilterName(any_=list(FLOWS)))):
            if run.parent_task_run_id is not None:
                continue
            seen[run.flow_id] += 1
            time_of_end = run.end_time or run.expected_start_time  # one that was cancelled before it began has no end
            if seen[run.flow_id] > keep and time_of_end is not None and now - time_of_end > older_than:
                going.append(run)
        for place in count(step=PAGE):
            parents = [run.id for run in going[place : place + PAGE]]  # the list grows: runs inside those inside
            if not parents:
                return going
            going += _flow_runs(client, FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=parents)))
    return going


def _flow_runs(client: SyncPrefectClient, runs: FlowRunFilter, *, flows: FlowFilter | None = None) -> Iterator[FlowRun]:
    for offset in count(step=PAGE):
        page = client.read_flow_runs(
            flow_filter=flows,
            flow_run_filter=runs,
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=PAGE,
            offset=offset,
        )
        yield from page
        if len(page) < PAGE:
            return


def forget(runs: Sequence[FlowRun]) -> None:
    """Remove flow runs from the database for good, with their task runs, states, artifacts and log lines."""
    with get_client(sync_client=True) as client:
        for run in reversed(runs):  # what is inside first: cut off in between, the rest is found again
            of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
            while artifacts := client.read_artifacts(artifact_filter=of_run, limit=PAGE):
                for artifact in artifacts:
                    with suppress(ObjectNotFound):  # somebody else, or Prefect's own service, was faster
                        client.delete_artifact(artifact.id)
            with suppress(ObjectNotFound):
                client.delete_flow_run(run.id)
        give_up = time.monotonic() + LOG_SECONDS
        for place in range(0, len(runs), PAGE):
            of_runs = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id for run in runs[place : place + PAGE]]))
            while client.read_logs(of_runs, limit=1) and time.monotonic() < give_up:
                time.sleep(0.1)
