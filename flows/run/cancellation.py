"""Deadline for a deployed run that is cancelled or terminated: it ends within seconds, whatever it still waits for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal

END_TIMEOUT_S = 10.0
"""Seconds from the signal until the process ends in any case. Prefect checks every 3 s and kills it after 30."""


@contextmanager
def ends_in_time() -> Iterator[None]:
    """Context for the long part of a flow: once a signal interrupts it, the rest of the flow gets END_TIMEOUT_S.

    A busy server, or a worker in the middle of a batch, may take longer than a user waits after cancelling. Finished
    images are in complete files, and the workers end with this process.
    """
    is_deployed = FlowRunContext.get().flow_run.deployment_id is not None
    try:
        yield
    except TerminationSignal:
        if is_deployed:
            timer = threading.Timer(END_TIMEOUT_S, _end)
            timer.daemon = True
            timer.start()
        raise


def _end() -> None:
    # Prefect's worker reports any code but 0 as a crash, and an automation would then restart the cancelled run.
    os._exit(0 if is_cancelled() else 128 + signal.SIGTERM)


def is_cancelled() -> bool:
    """Whether a user cancelled this run; False if Prefect does not tell cancelling from any other SIGTERM.

    The server knows too, but may be what this run waits for. Prefect keeps the answer in a private module; without it
    a cancelled run that has to be ended by the deadline counts as crashed.
    """
    try:
        from prefect._internal.control_listener import get_intent
    except ImportError:
        return False
    return get_intent() == "cancel"
