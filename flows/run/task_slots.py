"""Concurrency slots of a build's task runs, closed with the build.

Before a task starts, Prefect acquires the slots of its tags through a service of that set of tags: a thread and a
connection, which stay until the process ends. The tags of a build name its dataset, so that a process that builds many
would collect them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import tags
from prefect.concurrency.services import ConcurrencySlotAcquisitionWithLeaseService

from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

_lock = threading.Lock()
_builds: Counter[frozenset[str]] = Counter()
"""How many builds of this process use the slots of each set of tags: a service that is stopped refuses a task."""


class TaskSlots:
    """Slots that a flow's tasks acquire: a resource of its task runner, closed once no task runs any more."""

    def __init__(self) -> None:
        self._used: list[frozenset[str]] = []

    def use(self, names: frozenset[str]) -> None:
        """Keep the service of these tags until the flow ends."""
        with _lock:
            self._used.append(names)
            _builds[names] += 1

    def close(self) -> None:
        """End the services that no other build uses."""
        with _lock:
            for names in self._used:
                _builds[names] -= 1
                if not _builds[names]:
                    del _builds[names]
                    # As Prefect names a tag's limit.
                    limits = frozenset(f"tag:{name}" for name in names)
                    ConcurrencySlotAcquisitionWithLeaseService.instance(limits).drain()
            self._used.clear()


@contextmanager
def task_tags(runner: GpuTaskRunner, *names: str) -> Iterator[None]:
    """Context in which task runs of the runner's flow get these tags."""
    with tags(*names) as all_names:
        runner.shared_resource(TaskSlots).use(frozenset(all_names))
        yield
