"""Waits of the host for the device: the keys of the two caches, and values that are read in a batch."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.gpu_checks.check import Answer, Setup, pixels, prepared, spec_of, yes_or_no


def run(setup: Setup) -> Iterator[Answer]:
    """Beside a batch of few steps, in which a wait weighs most."""
    from imagemill.models.loading.caches.source_cache import SourceCache
    from imagemill.models.loading.caches.text_cache import TextCache
    from imagemill.models.loading.pipeline_cache import resident_pipeline

    spec = spec_of(setup.models[0])
    pipeline = resident_pipeline(spec, lambda event: None)
    rows = prepared(setup, [f"a photo of thing {number}" for number in range(2 if setup.tiny else 8)], steps=4)
    batch = seconds(setup, lambda: pixels(pipeline, spec, rows))
    side = setup.side if setup.tiny else 1024
    images = torch.rand(len(rows), 3, side, side, device=setup.device, dtype=torch.bfloat16)
    sources = seconds(setup, lambda: SourceCache(lambda x: x).keys((images,), {}))
    ids = torch.randint(0, 100, (len(rows), 512), device=setup.device)
    texts = seconds(setup, lambda: TextCache(lambda x: x).keys((ids,), {}))
    figures = {"batch_ms": batch * 1e3, "sources_ms": sources * 1e3, "texts_ms": texts * 1e3}
    yield yes_or_no("Looking up a batch of sources takes under 5 % of a batch?", sources < batch / 20, **figures)
    yield yes_or_no("Looking up a batch of texts takes under 1 %?", texts < batch / 100)
    if setup.device.type == "cuda":
        waits = {
            steps: count_waits(lambda n=steps: pixels(pipeline, spec, prepared(setup, ["a fox"], steps=n)))
            for steps in (2, 8)
        }
        yield yes_or_no("More steps make the host wait no more often?", waits[2] == waits[8], waits=waits)


def seconds(setup: Setup, work: Callable[[], Any]) -> float:
    """Median seconds of a call, after a first one that is not counted."""
    taken = []
    for _ in range(4):
        started = time.perf_counter()
        work()
        if setup.device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def count_waits(work: Callable[[], Any]) -> int:
    """How often the host waits for the device, as far as torch knows."""
    work()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in caught)
