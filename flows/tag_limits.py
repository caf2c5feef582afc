"""What is known of Prefect's concurrency limits on the study's tags, so that task runs need not ask for it.

Prefect asks its server about the tags of every task run that starts, and remembers "no limit" for five seconds. Each
such question is a write to the server's database. SQLite answers two of them at once with "busy", and the client then
waits two seconds. Measured: 22 of the 29 s of the tests' study, and 2 to 6 s in every worker's first cell.
"""

from collections.abc import Collection
from contextlib import suppress

from cachetools import TTLCache
from prefect.client.orchestration import get_client
from prefect.concurrency import services

from flows.progress import NO_ANSWER

STUDY_TAGS = ("cell", "subset", "policy", "labelling", "generator", "synthetic", "samples", "arm", "report")
REMEMBER_SECONDS = 600.0  # a limit that is set during a study counts after this time at the latest
MOST_LIMITS = 200  # that the server lists at once


def unlimited_tags() -> list[str]:
    """Ask the server once, by reading, which of the study's tags nobody has limited; none where it does not answer."""
    with suppress(*NO_ANSWER), get_client(sync_client=True) as client:
        limited = {limit.name for limit in client.read_global_concurrency_limits(limit=MOST_LIMITS)}
        if len(limited) < MOST_LIMITS:
            return [tag for tag in STUDY_TAGS if f"tag:{tag}" not in limited]
    return []


def remember_tag_limits(unlimited: Collection[str] = ()) -> None:
    """Let this process remember for minutes that a tag has no limit, and of the tags `unlimited` from the start."""
    if services._no_limits_cache.ttl != REMEMBER_SECONDS:
        services._no_limits_cache = TTLCache(maxsize=1000, ttl=REMEMBER_SECONDS)
    for tag in unlimited:
        services._no_limits_cache[frozenset([f"tag:{tag}"])] = True
