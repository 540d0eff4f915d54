"""A task begins also where the server is away at that moment.

Before a task begins, Prefect asks the server for a place among the runs with its tags, with a client that is new in
this process. One that has reached a server before asks again for a minute when it is gone; a new one gives up at once,
and with it the run, although the flow's own client would have waited for a server that starts again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from prefect import get_run_logger
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

Result = TypeVar("Result")

PATIENCE = 300.0
"""Seconds for which a task's beginning is tried again."""

PAUSE = 2.0
"""Seconds between two tries."""


def begin(task: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """Call a task, and again where the server was out of reach before it began. What the task raises goes through."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return task(*arguments, **options)
        except ConcurrencySlotAcquisitionError as error:
            if not isinstance(error.__cause__, httpx.TransportError) or time.monotonic() > deadline:
                raise
            get_run_logger().warning("Prefect's server is out of reach (%s): waiting for it.", error.__cause__)
        time.sleep(PAUSE)
