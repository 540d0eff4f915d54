"""`batch_size: auto`: search for the smallest batch that generates about as fast as any; the result is cached."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from imagemill.data.identity import digest
from imagemill.models.cache_dir import cache_folder
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.batches import PreparedDrawing
from imagemill.models.drawing.pipeline_call import draw_batch
from imagemill.models.loading.acceleration import forget_graphs
from imagemill.models.loading.device_memory import free_memory
from imagemill.models.loading.load_errors import is_out_of_memory
from imagemill.models.loading.pipeline import device_name, pick_device

MIN_SPEEDUP = 1.05
"""A batch of twice the size must generate at least this much faster: it costs memory, and more when it fails."""

STEPS = 4
"""Denoising steps of a trial: all steps cost the same, so a few suffice."""

MIN_TRIAL_S = 1.0
"""A shorter trial is repeated, and the median counts."""

MAX_MEMORY_SHARE = 0.9
"""Share of the device's memory that a batch is expected to take at most."""


def find_batch_size(pipeline: Any, spec: ModelSpec, like: PreparedDrawing, largest: int) -> int:
    """The best batch size for images like this one on this device: a power of two up to ``largest``.

    Doubles the batch until it gains too little or does not fit. Raises the pipeline's errors for a batch of one.
    """
    cached = _cache_file(spec, like)
    if cached.exists():
        return min(largest, int(cached.read_text()))
    steps = like.drawing.steps if "strength" in spec.call.arguments else min(STEPS, like.drawing.steps)
    plain = replace(like, drawing=replace(like.drawing, prompt="an image", seed=0, steps=steps))
    try:
        found = find_knee(lambda size: draw_batch(pipeline, spec, [plain], size), largest)
    finally:
        # Each trial was a graph, and their number is limited.
        forget_graphs(spec.speed)
    unfinished = cached.with_suffix(f".{os.getpid()}")
    unfinished.write_text(str(found))
    unfinished.replace(cached)
    return found


def find_knee(draw: Callable[[int], Any], largest: int, clock: Callable[[], float] = time.perf_counter) -> int:
    """Try ``draw(1)``, ``draw(2)``, ``draw(4)``, ...; the size after which images/s grow by less than MIN_SPEEDUP."""
    size, rate, found = 1, 0.0, 1
    while size <= largest:
        try:
            faster = size / _seconds(draw, size, clock)
        except Exception as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            break
        if faster < rate * MIN_SPEEDUP:
            break
        found, rate = size, faster
        if not _fits_twice():
            break
        size *= 2
    free_memory()
    return found


def _seconds(draw: Callable[[int], Any], size: int, clock: Callable[[], float]) -> float:
    """Median seconds of a call. The first one, which compiles and selects kernels, is not counted."""
    draw(size)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    taken: list[float] = []
    while sum(taken) < MIN_TRIAL_S and len(taken) < 5:
        started = clock()
        draw(size)
        taken.append(clock() - started)
    return statistics.median(taken)


def _fits_twice() -> bool:
    """True if twice the activations of the last trial fit beside the weights; on a CPU, memory does not decide."""
    if not torch.cuda.is_available():
        return True
    _, total = torch.cuda.mem_get_info()
    weights, peak = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    return weights + 2 * (peak - weights) < MAX_MEMORY_SHARE * total


def _cache_file(spec: ModelSpec, like: PreparedDrawing) -> Path:
    device = pick_device()
    total = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else torch.get_num_threads()
    model = [spec.weights_key, spec.pipeline, dict(spec.call.arguments)]
    shape = [like.width, like.height, like.source and like.source.size, like.drawing.guidance_scale]
    return cache_folder("batch_sizes") / digest([model, shape, device_name(device), total, torch.__version__])
