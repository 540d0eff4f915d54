"""The pipelines that live in this worker process: each loaded once, on first need."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from models.catalog import ModelSpec
from models.loading import device_name, load_pipeline, pick_device, same_parts

Report = Callable[[dict[str, Any]], None]

_loaded: dict[str, Any] = {}
_loading = threading.Lock()


def resident_pipeline(spec: ModelSpec, report: Report) -> Any:
    """The spec's pipeline; loaded if this process has none with the same weights, which ``report`` is told."""
    with _loading:
        pipeline = _loaded.get(spec.weights_key)
        if pipeline is None:
            started, device = time.perf_counter(), pick_device()
            pipeline = _loaded[spec.weights_key] = load_pipeline(spec, device)
            report(
                {
                    "kind": "loaded",
                    "model": spec.name,
                    "device": device_name(device),
                    "seconds": round(time.perf_counter() - started, 2),
                    "gib": round(_bytes(pipeline) / 2**30, 3),
                }
            )
        return same_parts(pipeline, spec)


def _bytes(pipeline: Any) -> int:
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    return sum(weight.numel() * weight.element_size() for part in parts for weight in part.parameters())
