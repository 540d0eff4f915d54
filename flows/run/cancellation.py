"""A deployed run that is cancelled, or told to end: it does so within seconds, whatever it still waits for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect._internal.control_listener import get_intent
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal

END_SECONDS = 10
"""Seconds from the signal until the process ends in any case. Prefect kills it after 30, and looks every 3."""


@contextmanager
def ends_in_time() -> Iterator[None]:
    """For what takes a flow its time; what is left of the flow after it is not waited for.

    A busy server, or a worker in the middle of a batch, may take longer than a person who has cancelled waits. What is
    finished lies in files that are whole, and workers end with this process.
    """
    deployed = FlowRunContext.get().flow_run.deployment_id is not None
    try:
        yield
    except TerminationSignal:
        if deployed:
            end = threading.Timer(END_SECONDS, _end)
            end.daemon = True
            end.start()
        raise


def _end() -> None:
    # A run that is cancelled has not crashed: Prefect's worker would say so of any other code, and bring it back.
    os._exit(0 if get_intent() == "cancel" else 128 + signal.SIGTERM)
