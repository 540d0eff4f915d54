"""`batch_size: auto`: the smallest batch that generates about as fast as any, found by generating, and remembered."""

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
from imagemill.models.drawing.device_errors import is_out_of_memory
from imagemill.models.drawing.pipeline_call import draw_batch
from imagemill.models.loading.device_memory import free_memory
from imagemill.models.loading.pipeline import device_name, pick_device

WORTH = 1.05
"""A batch of twice the size must draw at least this much faster: a larger one costs memory, and more when it fails."""

STEPS = 4
"""Denoising steps of a trial: all steps cost the same, so a few tell what a batch costs."""

LEAST_SECONDS = 1.0
"""A trial that is shorter is repeated, and its median counts."""

FULL = 0.9
"""Share of the device's memory that a batch may be expected to take."""


def find_batch_size(pipeline: Any, spec: ModelSpec, like: PreparedDrawing, most: int) -> int:
    """The batch size for images like this one on this device: a power of two, ``most`` at the highest.

    Doubles the batch until that is no longer worth it, or does not fit. Raises what the pipeline raises on one.
    """
    note = _note_for(spec, like)
    if note.exists():
        return min(most, int(note.read_text()))
    steps = like.drawing.steps if "strength" in spec.call.arguments else min(STEPS, like.drawing.steps)
    plain = replace(like, drawing=replace(like.drawing, prompt="an image", seed=0, steps=steps))
    found = find_knee(lambda size: draw_batch(pipeline, spec, [plain], size), most)
    unfinished = note.with_suffix(f".{os.getpid()}")
    unfinished.write_text(str(found))
    unfinished.replace(note)
    return found


def find_knee(draw: Callable[[int], Any], most: int, clock: Callable[[], float] = time.perf_counter) -> int:
    """Try ``draw(1)``, ``draw(2)``, ``draw(4)`` ...; the size after which images/s grow by less than WORTH."""
    size, rate, found = 1, 0.0, 1
    while size <= most:
        try:
            faster = size / _seconds(draw, size, clock)
        except Exception as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            break
        if faster < rate * WORTH:
            break
        found, rate = size, faster
        if not _has_room_for_twice():
            break
        size *= 2
    free_memory()
    return found


def _seconds(draw: Callable[[int], Any], size: int, clock: Callable[[], float]) -> float:
    """Median seconds of a call. The first is not counted: it compiles, and chooses kernels."""
    draw(size)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    taken: list[float] = []
    while sum(taken) < LEAST_SECONDS and len(taken) < 5:
        started = clock()
        draw(size)
        taken.append(clock() - started)
    return statistics.median(taken)


def _has_room_for_twice() -> bool:
    """Whether twice what the last trial computed fits beside the weights; on a CPU, memory does not decide."""
    if not torch.cuda.is_available():
        return True
    _, total = torch.cuda.mem_get_info()
    weights, peak = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    return weights + 2 * (peak - weights) < FULL * total


def _note_for(spec: ModelSpec, like: PreparedDrawing) -> Path:
    device = pick_device()
    total = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else torch.get_num_threads()
    model = [spec.weights_key, spec.pipeline, dict(spec.call.arguments)]
    shape = [like.width, like.height, like.source and like.source.size, like.drawing.guidance_scale]
    return cache_folder("batch_sizes") / digest([model, shape, device_name(device), total, torch.__version__])
