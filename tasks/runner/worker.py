"""What a worker process runs. It imports no Prefect: a worker has nothing to do with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from distributed import get_worker, secede
from distributed.threadpoolexecutor import threads_lock

from imagemill.data.errors import BuildFailed
from imagemill.data.records import StepReport
from imagemill.tasks.runner.job_message import Parcel, unpack
from imagemill.tasks.runner.worker_setup import imports


def draw_on_worker(parcel: Parcel, topic: str, threads: int | None = None) -> StepReport:
    """Generate a parcel's job, and tell whoever listens to the topic how far it is, and of every load.

    ``threads``: cores that it generates with, where the workers of a CPU share them out.

    Where the device does nothing more for this process, the process ends: its nanny starts another, which takes the
    job up where it was left.
    """
    if imports.ident is not None:
        imports.join()
    # Imported here, on the worker, so that the flow's process never loads torch.
    try:
        from imagemill.models.drawing.device_errors import DeviceLost
        from imagemill.models.drawing.draw import draw, use_threads
    except (ImportError, OSError) as error:
        raise BuildFailed(
            f"a worker process cannot import what models need: {type(error).__name__}: {error}. Mend the installation "
            "of torch and diffusers on the machine of the worker, and run the build again."
        ) from error

    job, worker = unpack(parcel), get_worker()
    # One that was forked has torch's threads from before it was told of its share.
    if share := threads or int(os.environ.get("OMP_NUM_THREADS", "0")):
        use_threads(share)

    def emit(event: dict[str, Any]) -> None:
        worker.log_event(topic, {**event, "worker": worker.name})

    throttle = ProgressThrottle(emit)
    try:
        return replace(draw(job, throttle.report, run=topic, on_device_idle=_release_slot), worker=str(worker.name))
    except DeviceLost:
        os._exit(1)
    finally:
        # Of a job that fails too: its images are generated.
        throttle.flush()


def _release_slot() -> None:
    """Let the worker take its next job, beside what is left to encode of this one."""
    # Dask keeps the lock while it waits for a closing worker's threads, and to secede takes it too: each would wait for
    # the other, for half a minute. A worker that closes takes no other job.
    if not threads_lock.locked():
        secede()


EVERY_SECONDS = 0.5
"""Images that are generated sooner after the last that were told of are told of with the next."""


class ProgressThrottle:
    """Passes events on; those of generated images that follow each other fast as one, with their sum."""

    def __init__(self, emit: Callable[[dict[str, Any]], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        self._told = -EVERY_SECONDS
        self._waiting: dict[str, Any] | None = None

    def report(self, event: dict[str, Any]) -> None:
        """Take an event (see tasks.progress.Progress.on_event)."""
        if event["kind"] != "generated":
            self._emit(event)
            return
        before = self._waiting["images"] if self._waiting else 0
        self._waiting = {**event, "images": before + event["images"]}
        if self._clock() - self._told >= EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Tell what waits."""
        if self._waiting:
            self._emit(self._waiting)
            self._told, self._waiting = self._clock(), None
