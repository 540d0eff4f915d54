"""Prefect's service of a build's tags ends with the last build that has them, and not before."""

from __future__ import annotations

import threading

from prefect import tags, task

from imagemill.flows.run.task_slots import TaskSlots
from tests.conftest import wait_until

SERVICE = "ConcurrencySlotAcquisitionWithLeaseServiceThread"
"""Prefect's name of the thread of each service."""


def services() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == SERVICE}


def test_two_builds_with_the_same_tags_share_a_service_which_ends_with_the_second(server: str):
    @task(persist_result=False)
    def work() -> int:
        return 1

    names, before = frozenset({"dataset:twice"}), services()
    first, second = TaskSlots(), TaskSlots()
    first.use(names)
    second.use(names)
    with tags(*names):
        work()
        shared = services() - before
        first.close()
        work()
    assert len(shared) == 1
    assert services() - before == shared
    second.close()
    wait_until(lambda: not services() & shared, "the service's thread to end")
