"""What a worker process runs. It imports no Prefect: a worker has nothing to do with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from distributed import get_worker, secede
from distributed.threadpoolexecutor import threads_lock

from imagemill.data.records import StepReport
from imagemill.tasks.runner.job_message import Parcel, unpack
from imagemill.tasks.runner.worker_setup import imports


def draw_and_tell(parcel: Parcel, topic: str, threads: int | None = None) -> StepReport:
    """Draw a parcel's job, and tell whoever listens to the topic how far it is, and of every load.

    ``threads``: cores that it draws with, where the workers of a CPU share them out.

    Where the device does nothing more for this process, the process ends: its nanny starts another, which takes the
    job up where it was left.
    """
    if imports.ident is not None:
        imports.join()
    # Imported here, on the worker, so that the flow's process never loads torch.
    from imagemill.models.drawing.device_errors import DeviceLost
    from imagemill.models.drawing.draw import draw, use_threads

    job, worker = unpack(parcel), get_worker()
    # One that was forked has torch's threads from before it was told of its share.
    if share := threads or int(os.environ.get("OMP_NUM_THREADS", "0")):
        use_threads(share)

    def tell(event: dict[str, Any]) -> None:
        worker.log_event(topic, {**event, "worker": worker.name})

    teller = Teller(tell)
    try:
        return replace(draw(job, teller.report, run=topic, let_go=_make_room), worker=str(worker.name))
    except DeviceLost:
        os._exit(1)
    finally:
        # Of a job that fails too: its pictures are drawn.
        teller.flush()


def _make_room() -> None:
    """Let the worker take its next job, beside what is left to encode of this one."""
    # Dask keeps the lock while it waits for a closing worker's threads, and to secede takes it too: each would wait for
    # the other, for half a minute. A worker that closes takes no other job.
    if not threads_lock.locked():
        secede()


EVERY_SECONDS = 0.5
"""Pictures that are drawn sooner after the last that were told of are told of with the next."""


class Teller:
    """Passes events on; those of drawn pictures that follow each other fast as one, with their sum."""

    def __init__(self, tell: Callable[[dict[str, Any]], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._told = -EVERY_SECONDS
        self._waiting: dict[str, Any] | None = None

    def report(self, event: dict[str, Any]) -> None:
        """Take an event (see tasks.progress.Progress.told)."""
        if event["kind"] != "drawn":
            self._tell(event)
            return
        before = self._waiting["pictures"] if self._waiting else 0
        self._waiting = {**event, "pictures": before + event["pictures"]}
        if self._clock() - self._told >= EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Tell what waits."""
        if self._waiting:
            self._tell(self._waiting)
            self._told, self._waiting = self._clock(), None
