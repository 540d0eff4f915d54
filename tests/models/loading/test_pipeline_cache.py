"""Models in a worker: loaded once, equal parts once, and sent away, longest unused first, for want of room."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.models.drawing.test_generate import job

from imagemill.data.config.memory import Memory
from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.resolve import ModelSpec, resolve
from imagemill.models.drawing.draw import draw
from imagemill.models.loading import pipeline_cache as resident
from imagemill.models.loading.pipeline_cache import resident_pipeline


@pytest.fixture
def specs(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ModelSpec]:
    """Two models that share all but their transformer, as FLUX.1-dev and FLUX.1-Kontext-dev do; nothing is loaded."""
    monkeypatch.setattr(resident, "_resident", {})
    other = tmp_path / "other"
    shutil.copytree(model, other)
    path = next((other / "transformer").glob("*.safetensors"))
    save_file({name: value + 1 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    config = json.loads((other / "vae" / "config.json").read_text())
    (other / "vae" / "config.json").write_text(json.dumps({**config, "_diffusers_version": "0.0.1"}))
    return [resolve("generate", Generate(model=str(folder)), None) for folder in (model, other)]


def kinds(specs: list[ModelSpec], **options: Any) -> list[tuple[str, str]]:
    told: list[dict[str, Any]] = []
    for spec in specs:
        resident_pipeline(spec, told.append, **options)
    return [(event["kind"], event["model"]) for event in told]


def test_equal_parts_of_two_models_are_loaded_once(specs: list[ModelSpec]):
    one, other = (resident_pipeline(spec, lambda event: None).components for spec in specs)
    shared = {name for name, part in one.items() if isinstance(part, torch.nn.Module) and other[name] is part}
    assert shared == {"text_encoder", "text_encoder_2", "vae"}


def test_models_that_are_set_up_otherwise_share_no_part(specs: list[ModelSpec]):
    first, second = specs
    second = replace(second, memory=Memory(vae_slicing=True))
    one, other = (resident_pipeline(spec, lambda event: None) for spec in (first, second))
    assert one.vae is not other.vae
    assert (one.vae.use_slicing, other.vae.use_slicing) == (False, True)


def test_the_model_used_longest_ago_waits_in_host_memory_and_comes_back_without_a_load(specs: list[ModelSpec]):
    one, other = specs
    assert kinds([one, other, one, one], max_resident=1) == [
        ("loaded", one.name),
        ("loaded", other.name),
        ("moved", one.name),
    ]
    assert kinds([one, other]) == [("moved", other.name)]


def test_a_model_for_which_there_is_no_room_at_all_is_dropped(specs: list[ModelSpec], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IMAGEMILL_DEVICE_GIB", "0.0001")
    one, other = specs
    assert kinds([one, other, one]) == [("loaded", one.name), ("loaded", other.name), ("loaded", one.name)]


def test_slicing_and_offload_keep_the_image_keys_and_what_changes_pixels_does_not(model: Path):
    def identity(**memory: Any) -> dict[str, Any]:
        return resolve("generate", Generate(model=str(model), memory=Memory(**memory)), None).identity

    plain = identity()
    assert "memory" not in plain
    assert identity(offload="group", vae_slicing=True, attention_slicing=True) == plain
    assert identity(vae_tiling=True)["memory"] == {"vae_tiling": True}
    assert identity(quantization="torchao_int8")["memory"] == {"quantization": "torchao_int8"}


def test_images_are_generated_with_slicing_and_tiling(specs: list[ModelSpec], model: Path, tmp_path: Path):
    memory = Memory(vae_slicing=True, vae_tiling=True, attention_slicing=True)
    asked = job(model, tmp_path, ["a fox", "a kite"], spec=replace(specs[0], memory=memory))
    assert draw(asked, lambda event: None).generated == 2


def test_quantization_without_its_package_says_what_to_install(specs: list[ModelSpec]):
    spec = replace(specs[0], memory=Memory(quantization="bitsandbytes_4bit"))
    with pytest.raises(RecipeError, match=r"pip install 'imagemill\[bitsandbytes\]'"):
        resident_pipeline(spec, lambda event: None)
