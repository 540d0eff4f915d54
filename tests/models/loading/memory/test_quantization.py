"""Quantization takes every large part of a model, and space on the device is judged by what is loaded."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

from imagemill.data.config.memory import Memory, Quantization
from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading.device_memory import bytes_of, weights_of
from imagemill.models.loading.memory import offload
from imagemill.models.loading.memory.offload import (
    device_bytes,
    loaded_bytes,
    quantization,
    quantized_parts,
    stays_on_device,
)
from imagemill.models.loading.memory.part_sizes import PartSize, part_sizes
from imagemill.models.loading.pipeline import extra_components, load_pipeline
from tests.models.tiny import save_tiny

CPU = torch.device("cpu")


def spec_of(folder: Path, **memory: Any) -> ModelSpec:
    return resolve("generate", Generate(model=str(folder), memory=Memory(**memory)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of over five thousand weights count as large, as those of the tiny pipelines have."""
    monkeypatch.setattr(offload, "LARGE_WEIGHTS", 5_000)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("QwenImagePipeline", {"transformer", "text_encoder"}),
        ("Flux2Pipeline", {"transformer", "text_encoder"}),
        ("Flux2KleinPipeline", {"transformer", "text_encoder"}),
        ("ZImagePipeline", {"transformer", "text_encoder"}),
        ("SanaPipeline", {"transformer", "text_encoder"}),
        # As ever: their first text encoder is small.
        ("StableDiffusionPipeline", {"unet"}),
        ("StableDiffusionXLPipeline", {"unet", "text_encoder_2"}),
        ("StableDiffusion3Pipeline", {"transformer", "text_encoder_2", "text_encoder_3"}),
        ("FluxPipeline", {"transformer", "text_encoder_2"}),
    ],
)
def test_every_large_part_but_the_autoencoder_is_quantized(family: str, expected: set[str], tmp_path: Path):
    folder = save_tiny(family, tmp_path)
    parts = part_sizes(folder)
    assert parts["vae"].weights > 5_000
    assert set(quantized_parts(spec_of(folder, quantization="torchao_int8"), parts)) == expected
    assert quantized_parts(spec_of(folder), parts) == []


def test_a_small_text_encoder_stays_as_it_is_and_the_denoiser_never_does(tmp_path: Path):
    folder = save_tiny("QwenImagePipeline", tmp_path)
    assert quantized_parts(spec_of(folder, quantization="torchao_int8"), part_sizes(folder)) == ["transformer"]


def test_bytes_are_those_of_the_files_that_are_loaded_in_the_dtype_they_are_loaded_in(tmp_path: Path):
    folder = save_tiny("StableDiffusionPipeline", tmp_path)
    # What many repositories have beside it.
    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.float16, local_files_only=True)
    pipeline.save_pretrained(folder, variant="fp16")
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(unet, unet.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    shutil.copytree(folder / "unet", folder / "safety_checker")
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (folder / "model_index.json").write_text(json.dumps(index))
    for dtype in ("float32", "float16"):
        spec = replace(spec_of(folder), dtype=dtype)
        found, loaded = sum(loaded_bytes(spec, folder, ())), load_pipeline(spec, CPU, {})
        parameters = sum(
            p.numel() * p.element_size() for part in weights_of(loaded).values() for p in part.parameters()
        )
        assert found == parameters
    assert sum(loaded_bytes(spec, folder, {"unet"})) < found


@pytest.mark.parametrize(("kind", "per_weight"), [("torchao_int8", 1), ("bitsandbytes_4bit", 0.5625), ("none", 2)])
def test_a_quantized_part_needs_the_bytes_of_its_quantized_layers(kind: Quantization, per_weight: float):
    size = PartSize("diffusers", weights=1_000_000, in_layers=900_000, bytes_on_disk=4_000_000, is_quantized=False)
    quantized = None if kind == "none" else offload.BYTES_PER_WEIGHT[kind]
    assert size.loaded_bytes(2, quantized) == 900_000 * per_weight + 100_000 * 2
    assert replace(size, is_quantized=True).loaded_bytes(2, quantized) == 4_000_000


@pytest.mark.parametrize(("kind", "expected"), [("none", 12), ("model", 7), ("group", 0), ("sequential", 0)])
def test_with_offload_only_what_is_on_the_device_at_once_needs_space(kind: Any, expected: int, tmp_path: Path):
    spec = spec_of(save_tiny("StableDiffusionPipeline", tmp_path), offload=kind)
    assert device_bytes(spec, [5, 7]) == expected


def test_weights_go_straight_to_the_device_unless_they_are_offloaded(tmp_path: Path):
    spec = spec_of(save_tiny("StableDiffusionPipeline", tmp_path))
    assert load_pipeline(spec, CPU, {}).hf_device_map == "cpu"
    cuda = torch.device("cuda", 0)
    assert [stays_on_device(Memory(offload=kind), cuda) for kind in ("none", "model", "group")] == [True, False, False]


def test_bitsandbytes_without_a_gpu_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(offload, "find_spec", lambda package: object())
    folder = save_tiny("StableDiffusionPipeline", tmp_path)
    with pytest.raises(RecipeError, match="bitsandbytes_8bit, which needs an NVIDIA GPU, and this worker has none"):
        quantization(spec_of(folder, quantization="bitsandbytes_8bit"), part_sizes(folder), CPU)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("family", ["QwenImagePipeline", "FluxPipeline"])
def test_a_quantized_model_is_loaded_and_is_as_large_as_was_judged(family: str, tmp_path: Path):
    pytest.importorskip("torchao")
    folder = save_tiny(family, tmp_path)
    spec = replace(spec_of(folder, quantization="torchao_int8"), dtype="bfloat16")
    pipeline = load_pipeline(spec, CPU, {})
    for name in quantized_parts(spec, part_sizes(folder)):
        assert any("torchao" in type(weight).__module__ for weight in getattr(pipeline, name).parameters()), name
    judged, loaded = sum(loaded_bytes(spec, folder, ())), bytes_of(weights_of(pipeline).values())
    # The tiny layers' scales weigh much.
    assert loaded == pytest.approx(judged, rel=0.15)
    assert loaded < sum(loaded_bytes(replace(spec, memory=Memory()), folder, ()))
    assert extra_components(spec, CPU) == {}
