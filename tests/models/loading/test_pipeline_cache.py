"""Models in a worker: loaded once, equal parts once, and evicted, least recently used first, when memory is short."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from imagemill.data.config.memory import Memory
from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.draw import draw
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.memory import offload
from imagemill.models.loading.memory.offload import loaded_bytes
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.jobs import make_job, silent


@pytest.fixture
def specs(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ModelSpec]:
    """Two models that share all but their transformer, as FLUX.1-dev and FLUX.1-Kontext-dev do; none is loaded."""
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    other = tmp_path / "other"
    shutil.copytree(model, other)
    path = next((other / "transformer").glob("*.safetensors"))
    save_file({name: value + 1 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    config = json.loads((other / "vae" / "config.json").read_text())
    (other / "vae" / "config.json").write_text(json.dumps({**config, "_diffusers_version": "0.0.1"}))
    return [resolve("generate", Generate(model=str(folder))) for folder in (model, other)]


def kinds(specs: list[ModelSpec], **options: Any) -> list[tuple[str, str]]:
    events: list[dict[str, Any]] = []
    for spec in specs:
        resident_pipeline(spec, events.append, **options)
    return [(event["kind"], event["model"]) for event in events]


def test_equal_parts_of_two_models_are_loaded_once(specs: list[ModelSpec]):
    first, second = (resident_pipeline(spec, silent).components for spec in specs)
    shared = {name for name, part in first.items() if isinstance(part, torch.nn.Module) and second[name] is part}
    assert shared == {"text_encoder", "text_encoder_2", "vae"}


def test_models_with_other_settings_share_no_part(specs: list[ModelSpec]):
    first, second = specs
    second = replace(second, memory=Memory(vae_slicing=True))
    first, second = (resident_pipeline(spec, silent) for spec in (first, second))
    assert first.vae is not second.vae
    assert (first.vae.use_slicing, second.vae.use_slicing) == (False, True)


def test_the_least_recently_used_model_is_offloaded_to_host_memory_and_moved_back(specs: list[ModelSpec]):
    first, second = specs
    assert kinds([first, second, first, first], max_resident=1) == [
        ("loaded", first.name),
        ("loaded", second.name),
        ("moved", first.name),
    ]
    assert kinds([first, second]) == [("moved", second.name)]


def test_a_model_that_fits_nowhere_is_evicted(specs: list[ModelSpec], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IMAGEMILL_DEVICE_GIB", "0.0001")
    first, second = specs
    assert kinds([first, second, first]) == [("loaded", first.name), ("loaded", second.name), ("loaded", first.name)]


def test_two_models_that_fit_as_they_are_loaded_both_stay_though_their_files_would_not(
    specs: list[ModelSpec], monkeypatch: pytest.MonkeyPatch
):
    # Files of float32, loaded in half of their bytes, as a quantized model is in a quarter.
    halved = [
        replace(spec, dtype="bfloat16", memory=Memory(vae_slicing=not number)) for number, spec in enumerate(specs)
    ]
    sizes = [sum(loaded_bytes(spec, Path(spec.source.location), ())) for spec in halved]
    monkeypatch.setenv("IMAGEMILL_DEVICE_GIB", str((sum(sizes) + 1_000) / 2**30))
    kept = [("loaded", spec.name) for spec in halved]
    assert kinds([*halved, *halved, *halved]) == kept
    monkeypatch.setenv("IMAGEMILL_DEVICE_GIB", str((sum(sizes) - 100_000) / 2**30))
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    assert kinds([*halved, halved[0]]) == [*kept, kept[0]]


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_an_offloaded_model_is_not_evicted_for_space_that_it_does_not_take(
    device: str, specs: list[ModelSpec], monkeypatch: pytest.MonkeyPatch
):
    first = replace(specs[0], memory=Memory(offload="model"))
    resident_pipeline(first, silent)
    monkeypatch.setenv("IMAGEMILL_DEVICE_GIB", "0.0001")
    pipeline_cache._make_space(10**9, torch.device(device), None)
    # On a CPU offload has no effect.
    assert list(pipeline_cache._resident) == ([first.weights_key] if device == "cuda" else [])


def test_slicing_and_offload_keep_the_identity_and_settings_that_change_pixels_do_not(model: Path):
    def identity(**memory: Any) -> dict[str, Any]:
        return resolve("generate", Generate(model=str(model), memory=Memory(**memory))).identity

    plain = identity()
    assert "memory" not in plain
    assert identity(offload="group", vae_slicing=True, attention_slicing=True) == plain
    assert identity(vae_tiling=True)["memory"] == {"vae_tiling": True}
    assert identity(quantization="torchao_int8")["memory"] == {"quantization": "torchao_int8"}


def test_images_are_generated_with_slicing_and_tiling(specs: list[ModelSpec], model: Path, tmp_path: Path):
    memory = Memory(vae_slicing=True, vae_tiling=True, attention_slicing=True)
    job = make_job(model, tmp_path, ["a fox", "a kite"], spec=replace(specs[0], memory=memory))
    assert draw(job, silent).generated == 2


def test_quantization_without_its_package_says_what_to_install(specs: list[ModelSpec], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(offload, "find_spec", lambda package: None)
    spec = replace(specs[0], memory=Memory(quantization="bitsandbytes_4bit"))
    with pytest.raises(RecipeError, match=r"pip install 'imagemill\[bitsandbytes\]'"):
        resident_pipeline(spec, silent)


def test_a_part_whose_files_are_replaced_while_it_is_loaded_is_loaded_again(specs: list[ModelSpec]):
    folder = Path(specs[1].source.location)
    before = resident_pipeline(specs[1], silent)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = {name: tensor + 1 for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, {"format": "pt"})
    after = resident_pipeline(resolve("generate", Generate(model=str(folder))), silent)
    name, tensor = next(iter(tensors.items()))
    assert torch.equal(after.vae.state_dict()[name].float(), tensor.float())
    assert after.vae is not before.vae
    # What has not changed is shared.
    assert after.text_encoder is before.text_encoder


def test_a_part_that_was_loaded_through_a_link_is_not_shared_once_the_link_leads_elsewhere(
    specs: list[ModelSpec], model: Path, tmp_path: Path
):
    linked = shutil.copytree(model, tmp_path / "linked")
    link, other = linked / "transformer", Path(specs[1].source.location, "transformer")
    shutil.rmtree(link)
    link.symlink_to(other)
    before = resident_pipeline(resolve("generate", Generate(model=str(linked))), silent)
    link.unlink()
    link.symlink_to(model / "transformer")
    # Its files are now equal to those behind the link, but not to what was loaded from there.
    after = resident_pipeline(specs[0], silent)
    assert after.transformer is not before.transformer
    assert after.vae is before.vae
    (weights,) = (model / "transformer").glob("*.safetensors")
    name, tensor = next(iter(load_file(weights).items()))
    assert torch.equal(after.transformer.state_dict()[name], tensor.to(after.transformer.dtype))


def test_a_part_whose_files_were_copied_over_in_place_with_their_time_is_loaded_again(specs: list[ModelSpec]):
    folder = Path(specs[1].source.location)
    before = resident_pipeline(specs[1], silent)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    content, stat = weights.read_bytes(), weights.stat()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = resident_pipeline(resolve("generate", Generate(model=str(folder))), silent)
    assert after.vae is not before.vae
    assert after.text_encoder is before.text_encoder
