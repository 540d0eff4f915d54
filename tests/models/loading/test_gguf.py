"""A transformer in GGUF takes the place of a model's own; these tests run where the package gguf is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.resolve import resolve
from imagemill.models.loading import pipeline_cache
from tests.models.jobs import generated
from tests.models.tiny import MAKERS
from tests.models.tiny.original_layout import flux_names, sd3_names
from tests.models.tiny.single_file import make

NAMES: dict[str, Callable[[Any], Any]] = {
    "flux dev": flux_names,
    "sd3": sd3_names,
    # Its makers' names are those of diffusers.
    "qwen-image": dict,
}
FURTHEST = {"F16": 8, "Q8_0": 32, "Q4_0": 120}
"""How far a value may be from the one of the weights in float32: tiny models feel their rounding."""
numbers = count(1)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cache, "_resident", {})


def image_of(model: Path, tmp_path: Path, **settings: Any) -> np.ndarray:
    row = Drawing(f"{next(numbers):032x}", "a fox", seed=3, steps=2, guidance_scale=3.0, width=64, height=64)
    section = Generate(model=str(model), dtype="float32", **settings)
    return generated(resolve("generate", section), tmp_path / "staged", [row])[0]


def pipeline_of(kind: str) -> Any:
    if kind != "qwen-image":
        return make(kind)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MAKERS["QwenImagePipeline"]()


def write_gguf(path: Path, kind: str, pipeline: Any, quantization: str) -> Path:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, kind)
    for name, tensor in NAMES[kind](pipeline.transformer.state_dict()).items():
        values = tensor.detach().float().numpy()
        if quantization != "F16" and values.ndim == 2 and values.shape[1] % 32 == 0:
            packed = getattr(gguf.GGMLQuantizationType, quantization)
            writer.add_tensor(name, gguf.quants.quantize(values, packed), raw_dtype=packed)
        else:
            writer.add_tensor(name, values.astype(np.float16) if values.ndim == 2 else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.slow
@pytest.mark.parametrize("quantization", FURTHEST)
@pytest.mark.parametrize("kind", NAMES)
def test_its_image_is_near_that_of_the_weights_it_was_made_of(kind: str, quantization: str, tmp_path: Path):
    pipeline = pipeline_of(kind)
    pipeline.save_pretrained(tmp_path / "model", safe_serialization=True)
    file = write_gguf(tmp_path / "part.gguf", kind, pipeline, quantization)
    image = image_of(tmp_path / "model", tmp_path, parts={"transformer": str(file)})
    plain = image_of(tmp_path / "model", tmp_path)
    difference = np.abs(image.astype(int) - plain)
    assert 0 < difference.max() <= FURTHEST[quantization]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("gguf") is not None, reason="the package gguf is installed")
def test_without_the_package_its_name_is_said(tmp_path: Path):
    make("flux dev").save_pretrained(tmp_path / "model", safe_serialization=True)
    (tmp_path / "part.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(RecipeError, match=r"pip install 'imagemill\[gguf\]'"):
        image_of(tmp_path / "model", tmp_path, parts={"transformer": str(tmp_path / "part.gguf")})
