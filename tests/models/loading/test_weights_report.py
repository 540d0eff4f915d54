"""A model whose files lack a tensor is refused, since random numbers would take its place; others are reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.resolve import resolve
from imagemill.models.loading.pipeline import load_pipeline
from tests.models.tiny import save_tiny

PARTS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}


def change(model: Path, part: str, kind: str) -> str:
    """Remove, reshape or add a tensor of a part's file; returns the tensor's name."""
    [path] = (model / part).glob("*.safetensors")
    tensors = load_file(path)
    name = sorted(tensors)[5]
    if kind == "added":
        name = "superfluous.weight"
        tensors[name] = torch.zeros(3)
    elif kind == "removed":
        del tensors[name]
    else:
        tensors[name] = torch.zeros(3, 5, 7)
    save_file(tensors, path, {"format": "pt"})
    return name


def load(model: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    load_pipeline(resolve("generate", Generate(model=str(model))), torch.device("cpu"), {}, events.append)
    return events


@pytest.mark.parametrize("part", PARTS)
def test_a_part_whose_file_lacks_a_tensor_is_refused(part: str, tmp_path: Path):
    model = save_tiny("StableDiffusionPipeline", tmp_path)
    assert load(model) == []
    name = change(model, part, "removed")
    with pytest.raises(RecipeError, match=rf"lack some of its tensors.* \(first {PARTS[part]}: {name}\)\. Random"):
        load(model)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_whose_file_has_a_tensor_in_another_shape_is_refused(part: str, tmp_path: Path):
    model = save_tiny("StableDiffusionPipeline", tmp_path)
    change(model, part, "reshaped")
    with pytest.raises(RecipeError, match="shape"):
        load(model)


@pytest.mark.parametrize("part", PARTS)
def test_tensors_that_the_model_does_not_use_are_reported_in_one_event(part: str, tmp_path: Path):
    model = save_tiny("StableDiffusionPipeline", tmp_path)
    name = change(model, part, "added")
    [event] = load(model)
    assert event == {
        "kind": "unused_weights",
        "model": "StableDiffusionPipeline",
        "tensors": 1,
        "first": f"{PARTS[part]}: {name}",
    }
