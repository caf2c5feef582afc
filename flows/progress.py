"""A study's progress in Prefect: artifacts that people watch, and that tell the study's process of its workers."""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from json import JSONDecodeError
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.context import SettingsContext, get_settings_context
from prefect.exceptions import PrefectException
from pydantic import ValidationError

from flows.study.config import StudyConfig
from flows.study.stages.table import stage_weights
from flows.study.watching import StageOutcome, StageUpdate, StudyClock, listeners

PREFECT_INTERVAL_SECONDS = 3.0
REMOTE_INTERVAL_SECONDS = 2.0
REMOTE_ARTIFACTS = 100  # of those changed last; more stages than these do not change within a second
SERVER_ERRORS = (httpx.HTTPError, PrefectException, ConcurrencySlotAcquisitionError)  # what an unreachable server gives
NO_ANSWER = (*SERVER_ERRORS, JSONDecodeError, ValidationError)  # for what only shows: nor is a proxy's page an answer
AWAY_SECONDS = 60.0  # without a request for progress once one has failed
PROGRESS_RETRIES = 1  # of requests that only show progress: a study does not wait long for a server that is gone


def artifact_key(name: str) -> str:
    """Return the key that Prefect allows for a thing of this name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


class ServerAwayError(PrefectException):
    """The server does not answer. Unlike what httpx makes of a refusal, this can be sent from process to process."""


_away_until = 0.0  # by this process's clock


@contextmanager
def few_retries() -> Iterator[None]:
    """Let requests inside be retried once, not many times: for those that only show progress.

    After one that failed all others fail at once for a minute, so that a study does not wait at every stage for a
    server that is gone.

    This copies two of Prefect's settings objects. Its own `temporary_settings` reads and validates all settings again,
    20 ms of a core for a request of 5: too much several times a second beside workers that fill the cores.
    """
    global _away_until
    if time.monotonic() < _away_until:
        raise ServerAwayError("Prefect's server did not answer a moment ago")
    context = get_settings_context()
    hasty = context.settings.client.model_copy(update={"max_retries": PROGRESS_RETRIES})
    with SettingsContext(profile=context.profile, settings=context.settings.model_copy(update={"client": hasty})):
        try:
            yield
        except NO_ANSWER:
            _away_until = time.monotonic() + AWAY_SECONDS
            raise


class PrefectProgress:
    """A progress artifact of the current run, updated at most every few seconds.

    Progress is for watching: where the server cannot be reached it is not shown, and the work continues.
    """

    def __init__(self, name: str, *, description: str) -> None:
        self._artifact: object = None
        self._next = time.monotonic() + PREFECT_INTERVAL_SECONDS
        with suppress(*NO_ANSWER), few_retries():
            self._artifact = create_progress_artifact(progress=0.0, key=artifact_key(name), description=description)

    def update(self, share: float, detail: str) -> None:
        """Show `share` in [0, 1] and a line of detail, unless that was done a moment ago; all is `finish`'s to say."""
        if share < 1.0 and time.monotonic() >= self._next:
            self._send(share, detail)

    def finish(self, detail: str) -> None:
        """Show that all is done, and how it went."""
        self._send(1.0, detail)

    def _send(self, share: float, detail: str) -> None:
        if isinstance(self._artifact, UUID):
            try:
                with few_retries():
                    update_progress_artifact(self._artifact, progress=100 * share, description=detail)
            except NO_ANSWER:
                self._artifact = None
        self._next = time.monotonic() + PREFECT_INTERVAL_SECONDS


class PrefectStudyListener:
    """The study's own progress artifact."""

    def __init__(self, name: str, *, total_weight: float) -> None:
        self._clock = StudyClock(total_weight)
        self._artifact = PrefectProgress(f"study {name}", description=f"study {name}")

    def update(self, update: StageUpdate) -> None:
        self._clock.update(update)
        self._artifact.update(self._clock.share, f"{update.cell} {update.stage}: {update.detail}")

    def finished(self, update: StageUpdate, *, skipped: bool) -> None:
        self._clock.finished(update, skipped=skipped)
        if self._clock.share < 1.0:
            self._artifact.update(self._clock.share, f"{update.cell} {update.stage} finished")
        else:
            self._artifact.finish("all cells finished")

    def looked(self, lines: Sequence[str], *, total_weight: float) -> None:
        self._clock.grow(total_weight)
        self._artifact.update(self._clock.share, "; ".join(lines))

    def noted(self, line: str) -> None:
        self._artifact.update(self._clock.share, line)


class RemoteProgress:
    """Passes on what stages do in other processes, going by their progress artifacts on Prefect's server.

    A cell's outcomes, which come with its result, fill in what the artifacts did not tell.
    """

    def __init__(self, config: StudyConfig, *, cells: Iterable[str], flow_run_id: UUID) -> None:
        self._stages = {
            artifact_key(f"{stage} {cell}"): (cell, stage, weight)
            for cell in cells
            for stage, weight in stage_weights(config, cell.partition("/")[0]).items()
        }
        self._flow_run_id = flow_run_id
        self._told: set[tuple[str, str]] = set()
        self._next = 0.0

    def poll(self) -> None:
        """Ask the server how far the stages are, at most every few seconds."""
        if time.monotonic() < self._next:
            return
        with suppress(*NO_ANSWER), few_retries():
            for artifact in self._read():
                found = self._stages.get(artifact.key or "")
                if found is not None and found[:2] not in self._told:
                    cell, stage, weight = found
                    share = float(artifact.data or 0) / 100  # type: ignore[arg-type]
                    self._tell(
                        StageUpdate(
                            cell=cell, stage=stage, weight=weight, share=share, detail=artifact.description or ""
                        )
                    )
        self._next = time.monotonic() + REMOTE_INTERVAL_SECONDS

    def finished(self, outcomes: Iterable[StageOutcome]) -> None:
        """Tell of the stages of a finished cell that nobody has been told of yet."""
        for outcome in outcomes:
            place = (outcome.update.cell, outcome.update.stage)
            if place not in self._told:
                self._told.add(place)
                for listener in listeners():
                    listener.finished(outcome.update, skipped=outcome.skipped)

    def _tell(self, update: StageUpdate) -> None:
        if update.share >= 1.0:
            self.finished([StageOutcome(update=update, skipped=False)])
            return
        for listener in listeners():
            listener.update(update)

    def _read(self) -> list[Artifact]:
        with get_client(sync_client=True) as client:
            found: list[Artifact] = client.read_artifacts(
                artifact_filter=ArtifactFilter(
                    flow_run_id=ArtifactFilterFlowRunId(any_=[self._flow_run_id]),
                    type=ArtifactFilterType(any_=["progress"]),
                ),
                sort=ArtifactSort.UPDATED_DESC,
                limit=REMOTE_ARTIFACTS,
            )
        return found
