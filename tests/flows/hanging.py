"""A flow that hangs when it is told to end, as one that waits for a server which does not answer."""

from __future__ import annotations

import threading
from pathlib import Path

from prefect import flow

from imagemill.flows.run import cancellation as stopping

stopping.END_SECONDS = 1


@flow(name="hanging")
def hanging(began: str) -> None:
    """Waits for ever, and once more when it is told to end."""
    try:
        with stopping.ends_in_time():
            Path(began).touch()
            threading.Event().wait()
    finally:
        threading.Event().wait()
