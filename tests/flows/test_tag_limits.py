"""Task runs need not ask Prefect's server about their tags one by one, and a limit that somebody set still counts."""

from types import SimpleNamespace

import pytest
from cachetools import TTLCache
from prefect import Task
from prefect.client.orchestration import get_client
from prefect.concurrency import services
from prefect.settings import PREFECT_API_URL, temporary_settings

import flows.augmentation_study
from flows.augmentation_study import STAGE_TASKS
from flows.runners import tell_dask_workers
from flows.tag_limits import STUDY_TAGS, remember_tag_limits, unlimited_tags


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what Prefect remembers of tags be as in a new process."""
    monkeypatch.setattr(services, "_no_limits_cache", TTLCache(maxsize=1000, ttl=5.0))


def test_every_tag_of_a_task_is_asked_about() -> None:
    tasks = [value for value in vars(flows.augmentation_study).values() if isinstance(value, Task)]
    tasks += STAGE_TASKS.values()
    assert {tag for task in tasks for tag in task.tags} == set(STUDY_TAGS)


def test_limited_tag_is_left_to_prefect(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.tag_limits.STUDY_TAGS", ("of-this-test", "another"))  # others' studies use the real ones
    with get_client(sync_client=True) as client:
        client.create_concurrency_limit(tag="of-this-test", concurrency_limit=1)
        try:
            assert unlimited_tags() == ["another"]
        finally:
            client.delete_concurrency_limit_by_tag("of-this-test")
    assert set(unlimited_tags()) == {"of-this-test", "another"}


@pytest.mark.slow
def test_server_that_does_not_answer_tells_of_no_tag() -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert unlimited_tags() == []


def test_known_tags_are_not_asked_about(forgetful: None) -> None:
    remember_tag_limits(["arm"])
    assert services._no_limits_cache.get(frozenset(["tag:arm"]))
    assert not services._no_limits_cache.get(frozenset(["tag:generator"]))
    remember_tag_limits()
    assert services._no_limits_cache.get(frozenset(["tag:arm"])), "what is known stays"
    assert services._no_limits_cache.ttl > 60


def test_dask_workers_know_the_tags_without_a_limit_before_their_first_cell(forgetful: None, prefect_api: str) -> None:
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, cluster.get_client() as client:
        tell_dask_workers(SimpleNamespace(client=client))
        assert services._no_limits_cache.get(frozenset(["tag:cell"]))
