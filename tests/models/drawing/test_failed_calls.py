"""A call that fails leaves nothing behind: the next batch's images are those of an undisturbed pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from imagemill.data.config.speed import Speed
from imagemill.data.config.steps import Generate
from imagemill.data.records import Drawing
from imagemill.models.catalog.resolve import resolve
from imagemill.models.drawing.batches import PreparedDrawing
from imagemill.models.drawing.pipeline_call import draw_batch
from imagemill.models.loading.memory.model_offload import offload_parts
from imagemill.models.loading.pipeline import load_pipeline
from tests.models.tiny import save_tiny


@pytest.fixture
def loaded(tmp_path: Path) -> Any:
    """A pipeline with a step cache, its spec, and a batch of one."""
    folder = save_tiny("FluxPipeline", tmp_path)
    spec = resolve("generate", Generate(model=str(folder), speed=Speed(step_cache="taylorseer")))
    batch = [PreparedDrawing(Drawing("0" * 32, "a fox", 3, steps=6, width=64, height=64), None, 64, 64)]
    return load_pipeline(spec, torch.device("cpu"), {}), spec, batch


def fail_once(part: torch.nn.Module, call: int) -> None:
    """Let the part's forward run out of memory in this call."""
    calls = []

    def fail(*_: Any) -> None:
        calls.append(1)
        if len(calls) == call:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    part.register_forward_pre_hook(fail)


def test_a_step_cache_forgets_a_call_that_failed(loaded: Any):
    pipeline, spec, batch = loaded
    [(_, expected, _)] = draw_batch(pipeline, spec, batch, 1)
    fail_once(pipeline.transformer, 3)
    with pytest.raises(torch.OutOfMemoryError):
        draw_batch(pipeline, spec, batch, 1)
    [(_, image, _)] = draw_batch(pipeline, spec, batch, 1)
    assert image.tobytes() == expected.tobytes()


def test_offloaded_parts_leave_the_device_when_a_call_fails(loaded: Any, monkeypatch: pytest.MonkeyPatch):
    pipeline, spec, batch = loaded
    offload_parts(pipeline, torch.device("cpu", 0))
    ends = []
    hooks = pipeline.maybe_free_model_hooks.hooks
    for hook in hooks:
        monkeypatch.setattr(hook, "offload", lambda: ends.append(1))
    fail_once(pipeline.transformer, 1)
    with pytest.raises(torch.OutOfMemoryError):
        draw_batch(pipeline, spec, batch, 1)
    assert len(ends) >= len(hooks)
