"""Start of a task, retried while the server is unreachable.

Before a task starts, Prefect acquires its tags' concurrency slots from the server, with a new client. A client that has
reached a server before retries for a minute; a new one raises at once, and the run fails although the flow's own client
would have waited for the server to restart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from prefect import get_run_logger
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

from imagemill.flows.prefect_server.temporary import check_running

Result = TypeVar("Result")

SERVER_TIMEOUT_S = 300.0
"""Seconds for which the start of a task is retried."""

RETRY_DELAY_S = 2.0
"""Seconds between two attempts."""


def begin(task: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """Call a task; retry if the server was unreachable before it started. Errors of the task itself propagate."""
    deadline = time.monotonic() + SERVER_TIMEOUT_S
    while True:
        try:
            return task(*arguments, **options)
        except ConcurrencySlotAcquisitionError as error:
            if not isinstance(error.__cause__, httpx.TransportError) or time.monotonic() > deadline:
                raise
            check_running()
            get_run_logger().warning("Prefect's server is unreachable (%s): waiting for it.", error.__cause__)
        time.sleep(RETRY_DELAY_S)
