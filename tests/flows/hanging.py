"""A flow that hangs when it is terminated, as one that waits for a server which does not answer."""

from __future__ import annotations

import threading
from pathlib import Path

from prefect import flow

from imagemill.flows.run import cancellation

cancellation.END_TIMEOUT_S = 1


@flow(name="hanging")
def hanging(began: str) -> None:
    """Wait for ever, and again when terminated."""
    try:
        with cancellation.ends_in_time():
            Path(began).touch()
            threading.Event().wait()
    finally:
        threading.Event().wait()
