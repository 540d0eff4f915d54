"""Thread pool that encodes and stages images while the device generates: one pool for all jobs of a worker."""

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
from imagemill.data.storage.disk_errors import explain_disk_errors

THREADS = max(2, min(8, torch.get_num_threads() // 4))
"""A quarter of this worker's share of the cores."""

_slots = BoundedSemaphore(2 * THREADS)
"""If encoding is slower than generation, at most two batches are in memory, or a few more small ones."""


class Encoders:
    """Encoding and staging of one job's images. Leaving the block waits until all are staged.

    Raises the error of a write: OutputError for a full disk, BuildFailed for a missing folder.
    """

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._writes: deque[Future[None]] = deque()

    def add(self, images: Sequence[StageRequest]) -> None:
        """Submit a batch; blocks while enough images of this worker's jobs are in memory."""
        # A bundle file for each thread, not for each image.
        for start in range(min(THREADS, len(images))):
            while self._writes and self._writes[0].done():
                self._writes.popleft().result()
            _slots.acquire()
            write = _threads().submit(_stage, self._staging, images[start::THREADS])
            write.add_done_callback(lambda _: _slots.release())
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
    # On first use: a worker may be forked after this import, and a fork does not copy threads.
    return ThreadPoolExecutor(THREADS, thread_name_prefix="encode")


def _stage(staging: Staging, images: Sequence[StageRequest]) -> None:
    with explain_disk_errors(staging.folder):
        staging.stage(images)
