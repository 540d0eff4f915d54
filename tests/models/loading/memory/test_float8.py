"""`memory.quantization: float8_storage` keeps the denoiser's weights in eight bits and computes in the step's dtype."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagemill.data.config.memory import Memory
from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.capabilities import check_settings
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.device_memory import bytes_of, weights_of
from imagemill.models.loading.memory.float8 import STORED
from imagemill.models.loading.memory.offload import loaded_bytes
from tests.models.adapters import save_lora
from tests.models.jobs import generated
from tests.models.tiny import save_tiny

SMALL = Memory(quantization="float8_storage")
numbers = count(1)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cache, "_resident", {})


def spec_of(folder: Path, **settings: Any) -> ModelSpec:
    return resolve("generate", Generate(model=str(folder), dtype="bfloat16", **settings))


def image_of(spec: ModelSpec, tmp_path: Path) -> np.ndarray:
    row = Drawing(f"{next(numbers):032x}", "a fox", seed=3, steps=2, guidance_scale=3.0, width=64, height=64)
    return generated(spec, tmp_path / "staged", [row])[0].astype(int)


def pipeline_of(spec: ModelSpec) -> Any:
    return next(iter(pipeline_cache._resident[spec.weights_key].pipelines.values()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "part"),
    [
        ("FluxPipeline", "transformer"),
        ("QwenImagePipeline", "transformer"),
        ("StableDiffusion3Pipeline", "transformer"),
        ("ZImagePipeline", "transformer"),
        ("StableDiffusionXLPipeline", "unet"),
    ],
)
def test_the_denoisers_weights_stay_small_and_its_image_is_near(family: str, part: str, tmp_path: Path):
    folder = save_tiny(family, tmp_path)
    plain, small = spec_of(folder), spec_of(folder, memory=SMALL)
    assert small.identity == {**plain.identity, "memory": {"quantization": "float8_storage"}} | (
        {"quantized": "large"} if "quantized" in small.identity else {}
    )
    before, after = image_of(plain, tmp_path), image_of(small, tmp_path)
    pipeline = pipeline_of(small)
    weights = {name: {w.dtype for w in module.parameters()} for name, module in weights_of(pipeline).items()}
    assert STORED in weights.pop(part)
    assert STORED not in set().union(*weights.values())
    difference = np.abs(after - before)
    assert 0 < difference.mean() < 16
    assert np.array_equal(after, image_of(small, tmp_path))
    judged, loaded = sum(loaded_bytes(small, folder, ())), bytes_of(weights_of(pipeline).values())
    # The layers of Z-Image that stay wide weigh much in a tiny one.
    assert loaded == pytest.approx(judged, rel=0.15) or family == "ZImagePipeline"
    assert loaded < sum(loaded_bytes(plain, folder, ()))


def test_adapters_that_add_layers_to_the_denoiser_are_refused(tmp_path: Path):
    folder = save_tiny("FluxPipeline", tmp_path)
    section = Generate(model=str(folder), memory=SMALL, lora=str(save_lora(folder, tmp_path / "style.safetensors")))
    with pytest.raises(RecipeError, match=r"memory\.quantization is 'float8_storage', which excludes lora and ip_ad"):
        check_settings("generate", section, resolve("generate", section))


def test_sequential_offload_is_refused(tmp_path: Path):
    folder = save_tiny("FluxPipeline", tmp_path)
    section = Generate(model=str(folder), memory=Memory(offload="sequential", quantization="float8_storage"))
    with pytest.raises(RecipeError, match="which excludes quantization: float8_storage, since a layer that is not on"):
        check_settings("generate", section, resolve("generate", section))
