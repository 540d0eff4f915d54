"""Jobs that were submitted before their task run begins, and which of them a worker has started.

The device then never waits for Prefect, and a task run that is Running has a worker: one that only waited for a place
would look slow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from distributed import Client, Future

from imagemill.tasks.runner.job_message import WorkerJob

POLL_INTERVAL_S = 0.5
"""Seconds between two looks whether a job that no worker has started has failed, as when its scheduler is lost."""

Submission = tuple[Client, Future]


class StartedJobs:
    """The submitted jobs of one flow. All methods are thread-safe."""

    def __init__(self) -> None:
        self._submissions: dict[int, Submission] = {}
        self._events: dict[str, threading.Event] = {}
        self._is_closed = False

    def wait(self, job: WorkerJob, key: str, submit: Callable[[], Submission]) -> None:
        """Submit a job under this Dask key, and return once a worker has started it, or it has failed."""
        started = self._events[key] = threading.Event()
        try:
            _, future = self._submissions[id(job)] = submit()
            while not (started.wait(POLL_INTERVAL_S) or future.done() or self._is_closed):
                pass
        finally:
            del self._events[key]

    def take(self, job: WorkerJob) -> Submission | None:
        """The job's submission, which is given once; None if there is none: a retry submits it again."""
        return self._submissions.pop(id(job), None)

    def on_event(self, event: dict[str, Any]) -> None:
        """Note a worker's event ``started``."""
        if started := self._events.get(event["job"]):
            started.set()

    def close(self) -> None:
        """End all waiting."""
        self._is_closed = True
        for started in list(self._events.values()):
            started.set()
