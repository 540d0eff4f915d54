"""The pipelines that live in this worker process: each loaded once, on first need."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from models.catalog import ModelSpec
from models.loading import device_name, load_pipeline, pick_device, same_parts
from models.speed import speed_up

Report = Callable[[dict[str, Any]], None]

_loaded: dict[str, dict[str, Any]] = {}
"""Weights -> pipeline class -> the pipeline of that class around these weights."""

_loading = threading.Lock()


def resident_pipeline(spec: ModelSpec, report: Report) -> Any:
    """The spec's pipeline; loaded if this process has none with the same weights, which ``report`` is told."""
    with _loading:
        if spec.weights_key not in _loaded:
            started, device = time.perf_counter(), pick_device()
            pipeline = speed_up(load_pipeline(spec, device), spec.speed, spec.name)
            _loaded[spec.weights_key] = {spec.pipeline: pipeline}
            report(
                {
                    "kind": "loaded",
                    "model": spec.name,
                    "device": device_name(device),
                    "seconds": round(time.perf_counter() - started, 2),
                    "gib": round(_bytes(pipeline) / 2**30, 3),
                }
            )
        pipelines = _loaded[spec.weights_key]
        if spec.pipeline not in pipelines:
            pipelines[spec.pipeline] = same_parts(next(iter(pipelines.values())), spec)
        return pipelines[spec.pipeline]


def _bytes(pipeline: Any) -> int:
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    return sum(weight.numel() * weight.element_size() for part in parts for weight in part.parameters())
