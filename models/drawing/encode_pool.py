"""The threads that encode and stage what was generated while the device generates on: one set for all jobs of a worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from threading import BoundedSemaphore
from types import TracebackType
from typing import Self

import torch

from imagemill.data.staging.store import StageRequest, Staging
from imagemill.data.storage.disk_full import explain_full_disk

THREADS = max(2, min(8, torch.get_num_threads() // 4))
"""Of this worker's share of the cores."""

_room = BoundedSemaphore(2 * THREADS)
"""Where encoding is slower than drawing, memory holds two batches and no more; of small ones some more."""


class Encoders:
    """One job's images on their way into its staging. Leaving the block waits until all are there.

    Raises what went wrong: OutputError where the disk is full, BuildFailed where the folder is gone.
    """

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._writes: deque[Future[None]] = deque()

    def add(self, images: Sequence[StageRequest]) -> None:
        """Have a batch encoded and staged; waits while enough of others is in memory, this worker's other jobs' too."""
        # A file for each thread, not for each image.
        for start in range(min(THREADS, len(images))):
            while self._writes and self._writes[0].done():
                self._writes.popleft().result()
            _room.acquire()
            write = _threads().submit(_stage, self._staging, images[start::THREADS])
            write.add_done_callback(lambda _: _room.release())
            self._writes.append(write)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        wait(self._writes)
        if error is None:
            for write in self._writes:
                write.result()


@cache
def _threads() -> ThreadPoolExecutor:
    # On first need: a worker is forked from a process in which this is imported, and threads are not forked with it.
    return ThreadPoolExecutor(THREADS, thread_name_prefix="encode")


def _stage(staging: Staging, images: Sequence[StageRequest]) -> None:
    with explain_full_disk(staging.folder):
        staging.stage(images)
