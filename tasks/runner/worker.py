"""Entry point of jobs in a worker process, and the throttle of its progress events. Imports no Prefect."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributed import get_worker, secede
from distributed.threadpoolexecutor import threads_lock

from imagemill.data.errors import BuildFailed
from imagemill.data.records import StepReport
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.models.library_messages import take_counts
from imagemill.tasks.runner.job_message import JobMessage, unpack
from imagemill.tasks.runner.worker_output import write_into
from imagemill.tasks.runner.worker_setup import imports


def draw_on_worker(message: JobMessage, topic: str, threads: int | None = None) -> StepReport:
    """Generate the message's job, and log progress and model loads as events of the Dask topic ``topic``.

    ``threads``: this worker's share of the cores, on a CPU. If the device is lost, this process ends; its nanny starts
    another, which resumes the job.
    """
    if imports.ident is not None:
        imports.join()
    # Imported here, on the worker, so that the flow's process never loads torch.
    try:
        from imagemill.models.drawing.draw import draw, use_threads
        from imagemill.models.loading.load_errors import DeviceLost
    except (ImportError, OSError) as error:
        raise BuildFailed(
            f"a worker process cannot import what models need: {type(error).__name__}: {error}. Fix the installation "
            "of torch and diffusers on the worker's machine, and run the build again."
        ) from error

    job, worker = unpack(message), get_worker()
    write_into(Path(job.staging))
    # A forked process has the number of torch threads of its parent.
    if share := threads or int(os.environ.get("OMP_NUM_THREADS", "0")):
        use_threads(share)

    def emit(event: dict[str, Any]) -> None:
        worker.log_event(topic, {**event, "worker": worker.name})

    emit({"kind": "started", "job": worker.get_current_task()})
    throttle = ProgressThrottle(emit)
    try:
        with explain_disk_errors(Path(job.staging)):
            report = draw(job, throttle.report, run=topic, on_device_idle=_release_slot)
        return replace(report, worker=str(worker.name), library_messages=take_counts())
    except DeviceLost:
        os._exit(1)
    finally:
        # Also if the job fails: the images before that are generated.
        throttle.flush()


def _release_slot() -> None:
    """Let the worker start its next job while the last images of this one are encoded."""
    # Dask holds the lock while it waits for a closing worker's threads, and secede() acquires it too: a deadlock of
    # half a minute. A closing worker takes no other job.
    if not threads_lock.locked():
        secede()


EVENT_INTERVAL_S = 0.5
"""Minimum seconds between two events of generated images; images in between are reported together."""


class ProgressThrottle:
    """Forwards events, merging frequent ones of generated images into one with their sum."""

    def __init__(self, emit: Callable[[dict[str, Any]], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        self._emitted = -EVENT_INTERVAL_S
        self._waiting: dict[str, Any] | None = None

    def report(self, event: dict[str, Any]) -> None:
        """Forward an event now or later (see tasks.progress.Progress.on_event)."""
        if event["kind"] != "generated":
            self._emit(event)
            return
        before = self._waiting["images"] if self._waiting else 0
        self._waiting = {**event, "images": before + event["images"]}
        if self._clock() - self._emitted >= EVENT_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Emit the event that waits, if there is one."""
        if self._waiting:
            self._emit(self._waiting)
            self._emitted, self._waiting = self._clock(), None
