"""Where cells run: one after the other, in threads, in processes, or on a Dask cluster.

Cells are what runs in parallel: they are independent, and each takes seconds to hours. A cell is one task that is
submitted to a Prefect task runner; its stages are task runs inside it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from typing import Any, Self, TypeVar

from prefect import Task
from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.futures import PrefectFuture
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from data.base.errors import AugmentError, UsageError
from flows.server import api_url_everywhere
from flows.study.config import RunnerConfig
from flows.study.processes import prepare_worker, worker_context, workers_ended_on_failure
from flows.tag_limits import remember_tag_limits, unlimited_tags

Result = TypeVar("Result")

MAX_LOST_WORKERS = 3  # a cell that loses its worker more often is likely what kills it
POLL_SECONDS = 0.5
FORWARDING_SECONDS = 5.0  # for the last log lines of the workers to be passed on
DASK_CONNECT_SECONDS = 20
DASK_START_SECONDS = 300.0  # for a local worker's replacement: the imports alone take a busy machine minutes
DASK_WORKERLESS_SECONDS = 60.0  # for a cluster to replace its workers, or for somebody to start new ones
DASK_WORKER = "dask worker --nthreads 1"  # a cell at a time in a process
LOCAL_CLUSTER = {"host": "127.0.0.1", "threads_per_worker": 1, "processes": True, "dashboard_address": "127.0.0.1:0"}


def run_tasks(
    task: "Task[..., Result]",
    calls: Sequence[Mapping[str, Any]],
    *,
    runner: RunnerConfig,
    workers: int,
    on_result: Callable[[Result], None],
    on_wait: Callable[[], None],
) -> None:
    """Call `task` with each of `calls` on the runner; the first failure ends the rest and is raised.

    A call whose worker process is lost (killed, out of memory) is made again on a new one, a few times.

    Args:
        on_wait: called a few times a second while calls are running.

    Raises:
        AugmentError: workers were lost again and again, there is no Dask scheduler at the address, or it went
            away, or it has lost all its workers for good.
        UsageError: Dask is asked for and not installed.
    """
    pending, losses = list(calls), 0
    while losses < MAX_LOST_WORKERS:
        before = len(pending)
        with _started(runner, workers=workers) as tasks:
            futures = [tasks.submit(task, dict(call)) for call in pending]
            watched = on_wait
            if runner.kind == "dask":
                watched = _watching_cluster(tasks, on_wait, address=runner.address)
            pending = _collect(dict(zip(futures, pending, strict=True)), on_result=on_result, on_wait=watched)
        if not pending:
            return
        losses = losses + 1 if len(pending) == before else 1
    raise AugmentError(
        f"worker processes were lost {MAX_LOST_WORKERS} times in a row (killed, or out of memory); "
        "go on with fewer --workers"
    )


def _collect(
    calls: dict[PrefectFuture[Result], Mapping[str, Any]],
    *,
    on_result: Callable[[Result], None],
    on_wait: Callable[[], None],
) -> list[Mapping[str, Any]]:
    """Wait for all calls and return those that lost their worker."""
    lost = []
    while calls:
        finished = [future for future in calls if future.wrapped_future.done()]  # type: ignore[attr-defined]
        on_wait()
        for future in finished:
            call = calls.pop(future)
            try:
                on_result(future.result())
            except BrokenProcessPool:
                lost.append(call)
            except Exception as error:
                match type(error).__name__:  # Dask's, which need not be installed
                    case "KilledWorker":
                        lost.append(call)
                    case "FutureCancelledError":
                        raise _scheduler_gone() from error
                    case _:
                        raise
        if not finished:
            time.sleep(POLL_SECONDS)
    return lost


@contextmanager
def _started(runner: RunnerConfig, *, workers: int) -> Iterator[TaskRunner[Any]]:
    """Start the task runner; its workers report to the server of this process, and end at once on a failure."""
    with get_client(sync_client=True) as client:
        url = str(client.api_url)
    ending = workers_ended_on_failure() if runner.kind == "processes" else nullcontext()
    with api_url_everywhere(url), _task_runner(runner, workers=workers) as tasks, ending:
        if runner.kind == "dask":
            tell_dask_workers(tasks)
        yield tasks


class CellProcesses(ProcessPoolTaskRunner):
    """Prefect's process pool, whose workers start as `worker_context` says, and which does not wait at its end for a
    lock that a killed worker took with it.

    Workers send log lines and events through one queue. Prefect ends the thread that reads it by a message through the
    same queue. Whoever is killed while writing leaves the queue locked for ever: that message is never sent, and the
    exit of the process waits for it. Here the end of the stream ends the thread, as soon as no worker is left to write.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        unused = self._executor  # which starts no process before it is given something to do
        assert unused is not None
        self._executor = ProcessPoolExecutor(
            self._max_workers, worker_context(), initializer=unused._initializer, initargs=unused._initargs
        )
        unused.shutdown()
        return self

    def _stop_message_forwarding(self) -> None:
        queue, thread = self._subprocess_message_queue, self._message_forwarding_thread
        if queue is None or thread is None:
            return
        queue._writer.close()
        thread.join(timeout=FORWARDING_SECONDS)  # a daemon: it holds up nothing
        queue.close()
        self._subprocess_message_queue = self._message_forwarding_thread = None


def _task_runner(runner: RunnerConfig, *, workers: int) -> TaskRunner[Any]:
    match runner.kind:
        case "processes":
            told = (dict(os.environ), unlimited_tags())
            return CellProcesses(max_workers=workers, initializer=start_worker, initargs=told)
        case "dask":
            return _dask_runner(runner.address, workers=workers)
        case _:
            return ThreadPoolTaskRunner(max_workers=workers)


def _dask_runner(address: str, *, workers: int) -> TaskRunner[Any]:
    try:
        import dask
        import distributed
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise UsageError("the dask runner needs: pip install 'augmentation-gain[dask]'") from error
    if not address:
        dask.config.set(
            {
                "distributed.deploy.lost-worker-timeout": f"{DASK_START_SECONDS:.0f}s",
                "distributed.worker.multiprocessing-method": worker_context().get_start_method(),
            }
        )
        distributed.utils.get_mp_context()  # type: ignore[no-untyped-call]  # its first call says what is imported,
        worker_context()  # and this says it again
        environment = {"env": dict(os.environ)}  # the fork server's own may be an older one
        return DaskTaskRunner(cluster_kwargs=LOCAL_CLUSTER | environment | {"n_workers": workers})
    try:
        with distributed.Client(  # type: ignore[no-untyped-call]
            address, timeout=DASK_CONNECT_SECONDS, set_as_default=False
        ) as client:
            if not client.scheduler_info()["workers"]:
                raise AugmentError(
                    f"the Dask scheduler at {address} has no workers; start some: {DASK_WORKER} {address}"
                )
    except (OSError, ValueError) as error:
        raise AugmentError(f"no Dask scheduler answers at {address}; start one: dask scheduler") from error
    return DaskTaskRunner(address=address)


def tell_dask_workers(tasks: TaskRunner[Any]) -> None:
    """Tell the cluster's workers, also those that start later, which tags Prefect need not ask about."""
    from flows.dask_workers import TagLimitsKnown

    tasks.client.register_plugin(TagLimitsKnown(unlimited_tags()))  # type: ignore[attr-defined]


def _watching_cluster(tasks: TaskRunner[Any], on_wait: Callable[[], None], *, address: str) -> Callable[[], None]:
    """Return `on_wait` with a look at the Dask cluster: without scheduler or workers, cells would wait for ever.

    Args:
        address: of somebody's cluster; "" for one on this machine, which starts its workers anew by itself.
    """
    seen = time.monotonic()
    patience = DASK_WORKERLESS_SECONDS if address else DASK_START_SECONDS
    advice = f"start some: {DASK_WORKER} {address}, and" if address else "this machine may be short of memory;"

    def watch() -> None:
        nonlocal seen
        on_wait()
        info = tasks.client.scheduler_info()  # type: ignore[attr-defined]
        if "workers" not in info:  # the client has given up connecting anew
            raise _scheduler_gone()
        if info["workers"]:
            seen = time.monotonic()
        elif time.monotonic() - seen > patience:
            raise AugmentError(f"the Dask cluster has had no worker for {patience:.0f} s; {advice} go on with --resume")

    return watch


def _scheduler_gone() -> AugmentError:
    return AugmentError("the Dask scheduler is gone; start it and its workers again, and go on with --resume")


def start_worker(environment: Mapping[str, str], unlimited: Sequence[str]) -> None:
    """Prepare a worker process.

    Args:
        environment: of the process that it works for.
        unlimited: the tags that Prefect need not ask about.
    """
    prepare_worker(environment)
    refresh_global_settings_context()
    remember_tag_limits(unlimited)
