"""Offload of whole parts: the hooks outlive a call, and with them what lies over a part's forward.

On a CPU, where the parts only move from the host to the host.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.hooks import CpuOffload
from diffusers import FluxImg2ImgPipeline, FluxPipeline

from imagemill.data.config.steps import Generate
from imagemill.models.catalog.resolve import resolve
from imagemill.models.loading.caches.text_cache import TextCache, cache_texts
from imagemill.models.loading.memory.model_offload import KeptHooks, offload_parts, share_offload
from imagemill.models.loading.pipeline import pipeline_from_parts

CPU = torch.device("cpu", 0)
PARTS = ("text_encoder", "text_encoder_2", "transformer", "vae")


@pytest.fixture
def pipeline(model: Path) -> FluxPipeline:
    loaded = FluxPipeline.from_pretrained(model)
    loaded.set_progress_bar_config(disable=True)
    offload_parts(loaded, CPU)
    return loaded


def generate(pipeline: Any, steps: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    sizes = {"width": 64, "height": 64, "num_inference_steps": steps, "max_sequence_length": 16}
    return pipeline("a fox", generator=generator, output_type="pt", **sizes).images


def moves(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the parts that are moved to the host from now on."""
    names = {id(part): name for name, part in pipeline.components.items()}
    moved: list[str] = []
    init = CpuOffload.init_hook
    monkeypatch.setattr(
        CpuOffload, "init_hook", lambda self, part: (moved.append(names[id(part)]), init(self, part))[1]
    )
    return moved


def test_the_cache_of_texts_outlives_a_call(pipeline: FluxPipeline):
    cache_texts(pipeline)
    encoded = []
    pipeline.text_encoder_2.encoder.register_forward_hook(lambda *_: encoded.append(1))
    first = generate(pipeline)
    assert torch.equal(generate(pipeline), first)
    assert len(encoded) == 1
    assert isinstance(pipeline.text_encoder_2.forward, TextCache)


def test_at_the_end_of_a_call_every_part_is_on_the_host_and_has_its_hook(
    pipeline: FluxPipeline, monkeypatch: pytest.MonkeyPatch
):
    hooks = [getattr(pipeline, name)._hf_hook for name in PARTS]
    moved = moves(pipeline, monkeypatch)
    generate(pipeline)
    assert sorted(moved) == sorted(PARTS)
    assert [getattr(pipeline, name)._hf_hook for name in PARTS] == hooks


def test_a_second_pipeline_around_offloaded_parts_offloads_them_too(model: Path, monkeypatch: pytest.MonkeyPatch):
    loaded = FluxPipeline.from_pretrained(model)
    spec = resolve("generate", Generate(model=str(model)))
    second = pipeline_from_parts(loaded, spec)
    assert not isinstance(second.maybe_free_model_hooks, KeptHooks)
    offload_parts(loaded, CPU)
    second = pipeline_from_parts(loaded, spec)
    moved = moves(second, monkeypatch)
    generate(second)
    assert sorted(moved) == sorted(PARTS)
    third = FluxImg2ImgPipeline(**second.components)
    share_offload(second, third)
    third.maybe_free_model_hooks()
    assert sorted(moved) == sorted(2 * PARTS)
