"""A model that is one file generates what the same weights in a folder generate."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading import pipeline_cache
from tests.models.jobs import generated
from tests.models.tiny.single_file import SINGLE_FILES, make, original_tensors, save_single_file

VELOCITY = {"sd-2": {"modelspec.prediction_type": "v"}}
numbers = count(1)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and no way to the Hub."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("imagemill.models.hub.resolve_commit", lambda *_: pytest.fail("the hub was asked"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a host was asked"))
    monkeypatch.setattr(pipeline_cache, "_resident", {})


@pytest.fixture(scope="module")
def pipelines() -> Callable[[str], Any]:
    """Kind -> its tiny pipeline, made on first need."""
    made: dict[str, Any] = {}
    return lambda kind: made.setdefault(kind, None) or made.update({kind: make(kind)}) or made[kind]


def spec_of(model: Path, task: str, **settings: Any) -> ModelSpec:
    if task == "text-to-image":
        return resolve("generate", Generate(model=str(model), **settings))
    return resolve("edit", Edit(model=str(model), task=task, **settings))


def image_of(model: Path, tmp_path: Path, task: str = "text-to-image", **settings: Any) -> np.ndarray:
    """One small image of a model."""
    more: dict[str, Any] = {"width": 64, "height": 64}
    if task != "text-to-image":
        slope = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
        slope.save(tmp_path / "slope.png")
        content = (tmp_path / "slope.png").read_bytes()
        more = {"source_path": str(tmp_path / "slope.png"), "source_hash": sha256(content).hexdigest()}
        if task == "inpaint":
            Image.new("L", (64, 64), 255).save(tmp_path / "mask.png")
            content = (tmp_path / "mask.png").read_bytes()
            more |= {"mask_path": str(tmp_path / "mask.png"), "mask_hash": sha256(content).hexdigest()}
    row = Drawing(f"{next(numbers):032x}", "a fox in the snow", seed=3, steps=3, guidance_scale=3.0, **more)
    return generated(spec_of(model, task, **settings), tmp_path / "staged", [row])[0]


TASKS = {"sd-1.5 inpainting": "inpaint", "sdxl inpainting": "inpaint", "instruct-pix2pix": "instruction"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SINGLE_FILES)
def test_a_file_generates_what_the_same_weights_in_a_folder_do(kind: str, pipelines: Any, tmp_path: Path):
    pipeline, task = pipelines(kind), TASKS.get(kind, "text-to-image")
    pipeline.save_pretrained(tmp_path / "folder", safe_serialization=True)
    file = save_single_file(tmp_path / "one.safetensors", pipeline, **VELOCITY.get(kind, {}))
    assert spec_of(file, task).pipeline == spec_of(tmp_path / "folder", task).pipeline
    assert (image_of(file, tmp_path, task) == image_of(tmp_path / "folder", tmp_path, task)).all()


@pytest.mark.slow
def test_a_file_serves_all_tasks_of_its_family(pipelines: Any, tmp_path: Path):
    file = save_single_file(tmp_path / "one.safetensors", pipelines("sdxl"))
    for task in ("image-to-image", "inpaint"):
        assert image_of(file, tmp_path, task).std() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "prefix", "replacement"),
    [
        # Some early merges, and ComfyUI's nodes that save a checkpoint.
        ("sd-1.5", "cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."),
        ("sd-1.5", "cond_stage_model.transformer.", "cond_stage_model.clip_l.transformer."),
        ("sdxl", "first_stage_model.", "vae."),
        ("flux dev", "model.diffusion_model.", ""),
        ("sd3", "model.diffusion_model.", "diffusion_model."),
    ],
)
def test_other_names_of_the_same_tensors_are_read(
    kind: str, prefix: str, replacement: str, pipelines: Any, tmp_path: Path
):
    tensors = original_tensors(pipelines(kind))
    renamed = {
        replacement + name.removeprefix(prefix) if name.startswith(prefix) else name: tensor.clone().contiguous()
        for name, tensor in tensors.items()
    }
    assert renamed.keys() != tensors.keys()
    save_file(renamed, tmp_path / "renamed.safetensors")
    file = save_single_file(tmp_path / "one.safetensors", pipelines(kind))
    assert (image_of(tmp_path / "renamed.safetensors", tmp_path) == image_of(file, tmp_path)).all()


@pytest.mark.slow
@pytest.mark.parametrize("scaled", [False, True])
def test_weights_of_eight_bits_come_in_the_dtype_that_is_asked_for(scaled: bool, pipelines: Any, tmp_path: Path):
    tensors = {name: tensor.clone().contiguous() for name, tensor in original_tensors(pipelines("flux dev")).items()}
    plain = dict(tensors)
    for name, tensor in tensors.items():
        if name.startswith("model.diffusion_model.") and name.endswith(".weight") and tensor.ndim == 2:
            scale = tensor.abs().max() / 448 if scaled else torch.tensor(1.0)
            small = (tensor / scale).to(torch.float8_e4m3fn)
            plain[name] = small
            tensors[name] = (small.float() * scale).to(torch.bfloat16)
            if scaled:
                plain[name.removesuffix("weight") + "scale_weight"] = scale
    if scaled:
        plain["model.diffusion_model.scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    save_file(plain, tmp_path / "fp8.safetensors")
    save_file(tensors, tmp_path / "wide.safetensors")
    # Their own dtype is none that a pipeline runs in, so the family's counts.
    assert spec_of(tmp_path / "fp8.safetensors", "text-to-image").dtype == "bfloat16"
    images = [image_of(tmp_path / name, tmp_path, dtype="bfloat16") for name in ("fp8.safetensors", "wide.safetensors")]
    assert (images[0] == images[1]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("sdxl", "model.diffusion_model.middle_block.1.norm.weight"),
        ("sdxl", "first_stage_model.decoder.norm_out.weight"),
        ("sdxl", "conditioner.embedders.1.model.ln_final.weight"),
        ("flux dev", "text_encoders.t5xxl.transformer.encoder.final_layer_norm.weight"),
        ("flux dev", "model.diffusion_model.single_blocks.1.linear2.weight"),
    ],
)
def test_a_file_that_lacks_a_tensor_is_refused(kind: str, name: str, pipelines: Any, tmp_path: Path):
    file = save_single_file(tmp_path / "one.safetensors", pipelines(kind))
    tensors = load_file(file)
    del tensors[name]
    save_file(tensors, file)
    with pytest.raises(RecipeError, match="lack"):
        image_of(file, tmp_path)


@pytest.mark.slow
def test_a_file_is_known_by_its_bytes_and_not_by_its_place(pipelines: Any, tmp_path: Path):
    file = save_single_file(tmp_path / "one.safetensors", pipelines("sd-1.5"))
    (tmp_path / "other").mkdir()
    moved = tmp_path / "other" / "renamed.safetensors"
    moved.write_bytes(file.read_bytes())
    assert spec_of(moved, "text-to-image").identity == spec_of(file, "text-to-image").identity
    assert spec_of(file, "text-to-image").identity["files"] == sha256(file.read_bytes()).hexdigest()
    tensors = load_file(moved)
    tensors["model.diffusion_model.out.2.bias"] += 1
    save_file(tensors, moved)
    assert spec_of(moved, "text-to-image").identity != spec_of(file, "text-to-image").identity
