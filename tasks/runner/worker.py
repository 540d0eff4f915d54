"""Entry points of jobs in a worker process, and the throttle of its progress events. Imports no Prefect."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributed import get_worker, secede
from distributed.threadpoolexecutor import threads_lock

from imagemill.data.errors import BuildFailed
from imagemill.data.records import StepReport
from imagemill.data.scores.records import ScoreReport
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.models.job import Job
from imagemill.models.library_messages import take_counts
from imagemill.models.score_job import ScoreJob
from imagemill.tasks.runner.job_message import JobMessage, WorkerJob, unpack
from imagemill.tasks.runner.worker_output import write_into
from imagemill.tasks.runner.worker_setup import imports

Report = Callable[[dict[str, Any]], None]


def draw_on_worker(message: JobMessage, topic: str, threads: int | None = None) -> StepReport:
    """Generate the message's job, and log progress and model loads as events of the Dask topic ``topic``.

    ``threads``: this worker's share of the cores, on a CPU. If the device is lost, this process ends; its nanny starts
    another, which resumes the job.
    """
    with _importing():
        from imagemill.models.drawing.draw import draw

    with _running(message, topic, threads) as (job, report, name):
        assert isinstance(job, Job), "GpuTaskRunner.draw sends no other"
        done = draw(job, report, run=topic, on_device_idle=_release_slot)
        return replace(done, worker=name, library_messages=take_counts())


def score_on_worker(message: JobMessage, topic: str, threads: int | None = None) -> ScoreReport:
    """Score the message's images; arguments, events and a lost device as draw_on_worker has them."""
    with _importing():
        from imagemill.models.scoring.score import score

    with _running(message, topic, threads) as (job, report, name):
        assert isinstance(job, ScoreJob), "GpuTaskRunner.score sends no other"
        return replace(score(job, report, run=topic), worker=name)


@contextmanager
def _importing() -> Iterator[None]:
    """Import in the block what the flow's process must not load: torch."""
    if imports.ident is not None:
        imports.join()
    try:
        yield
    except (ImportError, OSError) as error:
        raise BuildFailed(
            f"a worker process cannot import what models need: {type(error).__name__}: {error}. Fix the installation "
            "of torch and diffusers on the worker's machine, and run the build again."
        ) from error


@contextmanager
def _running(message: JobMessage, topic: str, threads: int | None) -> Iterator[tuple[WorkerJob, Report, str]]:
    """Do the message's job in the block: the job, a receiver of its events, and the worker's name."""
    from imagemill.models.drawing.draw import use_threads
    from imagemill.models.loading.load_errors import DeviceLost

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
            yield job, throttle.report, str(worker.name)
    except DeviceLost:
        os._exit(1)
    finally:
        # Also if the job fails: the images before that are generated, or scored.
        throttle.flush()


def _release_slot() -> None:
    """Let the worker start its next job while the last images of this one are encoded."""
    # Dask holds the lock while it waits for a closing worker's threads, and secede() acquires it too: a deadlock of
    # half a minute. A closing worker takes no other job.
    if not threads_lock.locked():
        secede()


EVENT_INTERVAL_S = 0.5
"""Minimum seconds between two events of generated or scored images; images in between are reported together."""

MERGED = ("generated", "scored")
"""Kinds of events that are merged."""


class ProgressThrottle:
    """Forwards events, merging frequent ones of generated or scored images into one with their sum."""

    def __init__(self, emit: Callable[[dict[str, Any]], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        self._emitted = -EVENT_INTERVAL_S
        self._waiting: dict[str, Any] | None = None

    def report(self, event: dict[str, Any]) -> None:
        """Forward an event now or later (see tasks.progress.Progress.on_event)."""
        if event["kind"] not in MERGED:
            self._emit(event)
            return
        if self._waiting and {**self._waiting, "images": 0} != {**event, "images": 0}:
            self.flush()
        before = self._waiting["images"] if self._waiting else 0
        self._waiting = {**event, "images": before + event["images"]}
        if self._clock() - self._emitted >= EVENT_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Emit the event that waits, if there is one."""
        if self._waiting:
            self._emit(self._waiting)
            self._emitted, self._waiting = self._clock(), None
