"""What a worker process runs. It imports no Prefect: a worker has nothing to do with it."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import get_worker

from data.errors import BuildFailed
from data.records import StepReport
from tasks.worker_process import imports

if TYPE_CHECKING:
    from models.job import Job

SEEN_WITHIN = 60.0
"""Seconds within which a new folder is seen on every machine; NFS remembers for up to 60 that a name was not there."""


def draw_and_tell(job: Job, topic: str, threads: int | None = None) -> StepReport:
    """Draw a job, and tell whoever listens to the topic of every batch and every load.

    ``threads``: cores that it draws with, where the workers of a CPU share them out.

    Where the device does nothing more for this process, the process ends: its nanny starts another, which takes the
    job up where it was left.
    """
    if imports.ident is not None:
        imports.join()
    # Imported here, on the worker, so that the flow's process never loads torch.
    from models.device_errors import DeviceLost
    from models.inference import draw, use_threads

    _find_staging(Path(job.staging))
    worker = get_worker()
    if threads is not None:
        use_threads(threads)

    def report(event: dict[str, Any]) -> None:
        worker.log_event(topic, {**event, "worker": worker.name})

    try:
        return replace(draw(job, report, run=topic), worker=str(worker.name))
    except DeviceLost:
        os._exit(1)


def _find_staging(folder: Path) -> None:
    """Wait until this machine sees the folder, as a network's file system may take a while. Raises BuildFailed."""
    deadline = time.monotonic() + SEEN_WITHIN
    while not folder.is_dir():
        if time.monotonic() > deadline:
            raise BuildFailed(
                f"the worker on {socket.gethostname()} does not see the build's folder {str(folder)!r}: every machine "
                "of a cluster needs the output's file system, under the same path."
            )
        time.sleep(0.5)
