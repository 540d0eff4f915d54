"""What a worker process runs. It imports no Prefect: a worker has nothing to do with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from distributed import get_worker

from data.records import StepReport

if TYPE_CHECKING:
    from models.job import Job


def draw_and_tell(job: Job, topic: str) -> StepReport:
    """Draw a job, and tell whoever listens to the topic of every batch and every load.

    Where the device does nothing more for this process, the process ends: its nanny starts another, which takes the
    job up where it was left.
    """
    # Imported here, on the worker, so that the flow's process never loads torch.
    from models.device_errors import DeviceLost
    from models.inference import draw

    worker = get_worker()

    def report(event: dict[str, Any]) -> None:
        worker.log_event(topic, {**event, "worker": worker.name})

    try:
        return draw(job, report, run=topic)
    except DeviceLost:
        os._exit(1)
