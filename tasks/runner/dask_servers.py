"""Dask's scheduler, nanny and worker without their HTTP servers.

Dask has no setting for that: each scheduler and worker listens on one more port, in the clear and for anyone, also if
there is no dashboard and TLS is required. Its pages name addresses, call stacks and logs.
"""

from __future__ import annotations

from typing import Any

from distributed import Nanny, Scheduler, Worker
from distributed.core import Status

from imagemill.tasks.runner.dask_settings import own_settings


class PlainScheduler(Scheduler):
    """Scheduler that listens on its own port only."""

    def start_http_server(self, *arguments: Any, **options: Any) -> None:
        """Start none."""


class PlainWorker(Worker):
    """Worker that listens on its own port only."""

    def start_http_server(self, *arguments: Any, **options: Any) -> None:
        """Start none."""


class OwnNanny(Nanny):
    """Nanny of a worker of a build's own cluster, whose settings are those of ``own_settings`` whenever it starts."""

    def __init__(self, *arguments: Any, forks: bool, **options: Any) -> None:
        self._forks = forks
        with own_settings(forks):
            super().__init__(*arguments, **options)

    async def instantiate(self) -> Status:
        """Start a worker process: the first, or one that replaces another."""
        with own_settings(self._forks):
            return await super().instantiate()
