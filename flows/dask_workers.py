"""What Dask's worker processes do before their first cell. Dask need not be installed: `flows.runners` imports this."""

from collections.abc import Collection

from distributed import Worker, WorkerPlugin

from flows.tag_limits import remember_tag_limits


class TagLimitsKnown(WorkerPlugin):
    """Tells each worker, the replacements of lost ones too, which tags Prefect need not ask about.

    A cell's tag is asked about before its task begins. Each question is a write to the server's database, and where
    many write at once SQLite refuses some after a minute: a cell then waited for minutes to begin.
    """

    name = "augment-tag-limits"  # one that is registered anew replaces the earlier one

    def __init__(self, unlimited: Collection[str]) -> None:
        self.unlimited = unlimited

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 (Dask's signature)
        """Remember it in this process."""
        remember_tag_limits(self.unlimited)
