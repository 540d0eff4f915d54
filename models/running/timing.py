"""Timing of a worker's jobs: loading, generating, waiting between batches, and peak memory."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from imagemill.data.records import WorkerStats
from imagemill.models.loading.pipeline import pick_device

_last_batch: dict[str, float] = {}
"""Run -> end of its last batch in this process, in perf_counter's seconds."""


class Timeline:
    """The times of one job. Time between two batches of a run counts as waiting, across jobs too."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._loading = self._generating = self._waiting = 0.0
        self._is_cuda = pick_device().type == "cuda"
        self._utilisation: list[int] = []
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats()

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Count the block's seconds as loading, and not as waiting."""
        started = time.perf_counter()
        yield
        self._loading += time.perf_counter() - started
        if self._run in _last_batch:
            _last_batch[self._run] += time.perf_counter() - started

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Count the block's seconds as generating."""
        started = time.perf_counter()
        self._waiting += started - _last_batch.get(self._run, started)
        yield
        ended = time.perf_counter()
        self._generating += ended - started
        # Only this run's: a worker of a cluster may live for weeks.
        _last_batch.clear()
        _last_batch[self._run] = ended

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Sample an NVIDIA GPU's utilisation once a second during the block, if nvidia-ml-py is installed."""
        stop = threading.Event()

        def sample() -> None:
            while not stop.wait(1):
                try:
                    self._utilisation.append(torch.cuda.utilization())
                except (ImportError, RuntimeError):
                    return

        sampler = threading.Thread(target=sample, daemon=True, name="utilisation")
        if self._is_cuda:
            sampler.start()
        try:
            yield
        finally:
            stop.set()

    def stats(self) -> WorkerStats:
        """The sums so far."""
        return WorkerStats(
            loading=round(self._loading, 3),
            drawing=round(self._generating, 3),
            waiting=round(self._waiting, 3),
            peak_gib=round(self._peak() / 2**30, 3),
            utilisation=sum(self._utilisation),
            samples=len(self._utilisation),
        )

    def _peak(self) -> int:
        if self._is_cuda:
            return torch.cuda.max_memory_reserved()
        # Without a GPU's memory, the process's: in KiB, on a Mac in bytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
