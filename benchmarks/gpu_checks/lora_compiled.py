"""A LoRA in a compiled model: does it compile whole, once, and is it faster?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu_checks.check import (
    Answer,
    Setup,
    needs_gpu,
    nothing_resident,
    pixels,
    prepared,
    spec_of,
    yes_or_no,
)

QUESTION = "With a LoRA, compiled blocks have no graph break?"


def run(setup: Setup) -> Iterator[Answer]:
    """A random LoRA of rank 4 over all attention layers."""
    if answer := needs_gpu(setup, QUESTION):
        yield answer
        return
    from torch._dynamo.utils import counters

    from imagemill.models.loading.pipeline_cache import resident_pipeline
    from tests.models.adapters import save_lora

    lora = [{"source": str(save_lora(setup.models[0], setup.folder / "lora.safetensors"))}]
    rows = prepared(setup, ["a fox", "a kite"], steps=8)
    rates: dict[str, Any] = {}
    for name, speed in (("plain", {}), ("compiled", {"compile": True})):
        counters.clear()
        spec = spec_of(setup.models[0], lora=lora, speed=speed)
        pipeline = resident_pipeline(spec, lambda event: None)
        first = time.perf_counter()
        pixels(pipeline, spec, rows)
        rates[f"{name}_first_s"] = time.perf_counter() - first
        graphs = dict(counters["stats"])
        started = time.perf_counter()
        for _ in range(3):
            pixels(pipeline, spec, rows)
        rates[f"{name}_images_per_s"] = 3 * len(rows) / (time.perf_counter() - started)
        again = dict(counters["stats"])
        del pipeline
        nothing_resident()
    breaks = sum(counters["graph_break"].values())
    yield yes_or_no(QUESTION, not breaks, breaks=breaks, graphs=graphs.get("unique_graphs"), **rates)
    yield yes_or_no("Later batches compile nothing?", graphs.get("unique_graphs") == again.get("unique_graphs"))
    torch._dynamo.reset()
