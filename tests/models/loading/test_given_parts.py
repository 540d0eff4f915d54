"""A part that a recipe names takes the place of the model's own, in any form, and is part of its identity."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.resolve import resolve
from imagemill.models.loading import pipeline_cache
from tests.models.jobs import generated
from tests.models.tiny.original_layout import flux_names, unet_names, vae_names
from tests.models.tiny.single_file import SINGLE_FILES, original_tensors, save_single_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"
numbers = count(1)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and nothing loaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pipeline_cache, "_resident", {})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], tuple[Path, Any]]:
    """Kind and seed -> a tiny model's folder, and its pipeline."""
    above, known = tmp_path_factory.mktemp("made"), {}

    def make(kind: str, seed: int) -> tuple[Path, Any]:
        if (kind, seed) not in known:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                pipeline = SINGLE_FILES[kind]()
            folder = above / f"{kind.replace(' ', '-')}-{seed}"
            pipeline.save_pretrained(folder, safe_serialization=True)
            known[kind, seed] = folder, pipeline
        return known[kind, seed]

    return make


def image_of(model: Path, tmp_path: Path, **settings: Any) -> np.ndarray:
    row = Drawing(f"{next(numbers):032x}", "a fox", seed=3, steps=2, guidance_scale=3.0, width=64, height=64)
    return generated(resolve("generate", Generate(model=str(model), **settings)), tmp_path / "staged", [row])[0]


def put_together(model: Path, part: str, other: Path, target: Path) -> Path:
    """A folder of one model, with a part of the other."""
    shutil.copytree(model, target)
    shutil.rmtree(target / part)
    shutil.copytree(other / part, target / part)
    return target


def save(tensors: dict[str, torch.Tensor], path: Path, prefix: str = "") -> Path:
    save_file({prefix + name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path)
    return path


def as_folder(part: str, folder: Path, pipeline: Any, tmp_path: Path) -> Path:
    return folder / part


def as_whole_model(part: str, folder: Path, pipeline: Any, tmp_path: Path) -> Path:
    return folder


def as_file(part: str, folder: Path, pipeline: Any, tmp_path: Path) -> Path:
    return save(getattr(pipeline, part).state_dict(), tmp_path / "part.safetensors")


def as_original(part: str, folder: Path, pipeline: Any, tmp_path: Path) -> Path:
    """As its makers publish it, alone."""
    tensors = getattr(pipeline, part).state_dict()
    if part == "unet":
        tensors = unet_names(tensors, 1)
    else:
        tensors = (flux_names if part == "transformer" else vae_names)(tensors)
    return save(tensors, tmp_path / "part.safetensors", "" if part == "vae" else "model.diffusion_model.")


@pytest.mark.parametrize(
    ("kind", "part", "form"),
    [
        ("sdxl", "vae", as_folder),
        ("sdxl", "vae", as_whole_model),
        ("sdxl", "vae", as_file),
        ("sdxl", "vae", as_original),
        ("sdxl", "unet", as_folder),
        ("sdxl", "unet", as_file),
        ("sdxl", "unet", as_original),
        ("sdxl", "text_encoder", as_file),
        ("sdxl", "text_encoder_2", as_folder),
        ("flux dev", "vae", as_original),
        ("flux dev", "transformer", as_folder),
        ("flux dev", "transformer", as_file),
        ("flux dev", "transformer", as_original),
        ("flux dev", "text_encoder_2", as_file),
        ("flux dev", "text_encoder_2", as_whole_model),
    ],
)
def test_a_part_in_any_form_generates_what_a_model_put_together_of_both_does(
    made: Any, tmp_path: Path, kind: str, part: str, form: Callable[..., Path]
):
    (model, _), (other, pipeline) = made(kind, 0), made(kind, 1)
    whole = put_together(model, part, other, tmp_path / "whole")
    source = form(part, other, pipeline, tmp_path)
    plain = image_of(model, tmp_path)
    image = image_of(model, tmp_path, parts={part: str(source)})
    assert (image == image_of(whole, tmp_path)).all()
    assert (image != plain).any()
    # The replaced part was not taken for the model's own.
    assert (image_of(model, tmp_path) == plain).all()


def test_a_part_may_be_of_another_class(made: Any, tmp_path: Path):
    model, _ = made("sdxl", 0)
    torch.manual_seed(5)
    tiny = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )
    tiny.save_pretrained(tmp_path / "taesdxl")
    shutil.copytree(model, tmp_path / "whole")
    shutil.rmtree(tmp_path / "whole" / "vae")
    shutil.copytree(tmp_path / "taesdxl", tmp_path / "whole" / "vae")
    index = json.loads((model / "model_index.json").read_bytes())
    index["vae"] = ["diffusers", "AutoencoderTiny"]
    (tmp_path / "whole" / "model_index.json").write_text(json.dumps(index))
    image = image_of(model, tmp_path, parts={"vae": str(tmp_path / "taesdxl")})
    assert (image == image_of(tmp_path / "whole", tmp_path)).all()


@pytest.mark.parametrize("form", [as_folder, as_original])
def test_a_single_file_takes_parts_too(made: Any, tmp_path: Path, form: Callable[..., Path]):
    (model, own), (other, pipeline) = made("sdxl", 0), made("sdxl", 1)
    file = save_single_file(tmp_path / "one.safetensors", own)
    image = image_of(file, tmp_path, parts={"vae": str(form("vae", other, pipeline, tmp_path))})
    assert (image == image_of(put_together(model, "vae", other, tmp_path / "whole"), tmp_path)).all()


def test_a_file_with_a_transformer_alone_is_a_model_with_the_other_parts(made: Any, tmp_path: Path):
    model, pipeline = made("flux dev", 0)
    tensors = {name: it for name, it in original_tensors(pipeline).items() if name.startswith("model.")}
    file = save(tensors, tmp_path / "finetune.safetensors")
    parts = {
        "vae": as_original("vae", model, pipeline, tmp_path).rename(tmp_path / "ae.safetensors"),
        "text_encoder": as_file("text_encoder", model, pipeline, tmp_path).rename(tmp_path / "clip_l.safetensors"),
        "text_encoder_2": as_file("text_encoder_2", model, pipeline, tmp_path).rename(tmp_path / "t5xxl.safetensors"),
    }
    with pytest.raises(RecipeError, match="has no text_encoder and no text_encoder_2 and no vae"):
        image_of(file, tmp_path)
    image = image_of(file, tmp_path, parts={name: str(path) for name, path in parts.items()}, dtype="float32")
    assert (image == image_of(model, tmp_path)).all()


def test_a_given_part_is_part_of_the_identity_and_its_place_is_not(made: Any, tmp_path: Path):
    (model, _), (other, _) = made("sdxl", 0), made("sdxl", 1)
    shutil.copytree(other / "vae", tmp_path / "moved")
    spec, moved, plain = (
        resolve("generate", Generate(model=str(model), parts=parts))
        for parts in ({"vae": str(other)}, {"vae": str(tmp_path / "moved")}, {})
    )
    assert spec.identity == moved.identity
    assert spec.identity != plain.identity
    assert "parts" not in plain.identity
    assert spec.weights_key != plain.weights_key
    config = tmp_path / "moved" / "config.json"
    config.write_text(config.read_text().replace("0.13025", "0.13026"))
    assert resolve("generate", Generate(model=str(model), parts={"vae": str(tmp_path / "moved")})).identity not in (
        spec.identity,
        plain.identity,
    )


def test_a_repository_is_known_by_its_commit_subfolder_and_file(made: Any, monkeypatch: pytest.MonkeyPatch):
    model, _ = made("sdxl", 0)
    monkeypatch.setattr("imagemill.models.hub.resolve_commit", lambda *_: COMMIT)
    known = {"repository": "studio/vaes", "revision": COMMIT}
    for settings, more in (
        ({}, {}),
        ({"subfolder": "fp16-fix"}, {"subfolder": "fp16-fix"}),
        ({"subfolder": "old", "file": "vae.safetensors"}, {"file": "old/vae.safetensors"}),
    ):
        parts = {"vae": {"source": "studio/vaes", **settings}}
        spec = resolve("generate", Generate(model=str(model), parts=parts))
        assert spec.identity["parts"] == {"vae": {**known, **more}}


def test_a_part_comes_from_a_repository_at_a_commit(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (model, _), (other, pipeline) = made("sdxl", 0), made("sdxl", 1)
    repository = tmp_path / "hub" / "models--studio--vaes"
    snapshot = repository / "snapshots" / COMMIT
    shutil.copytree(other / "vae", snapshot / "fixed")
    as_original("vae", other, pipeline, tmp_path).rename(snapshot / "sdxl_vae.safetensors")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    whole = image_of(put_together(model, "vae", other, tmp_path / "whole"), tmp_path)
    for where in ({"subfolder": "fixed"}, {"file": "sdxl_vae.safetensors"}):
        section = Generate(model=str(model), parts={"vae": {"source": "studio/vaes", **where}})
        row = Drawing(f"{next(numbers):032x}", "a fox", seed=3, steps=2, guidance_scale=3.0, width=64, height=64)
        (image,) = generated(resolve("generate", section, str(tmp_path / "hub")), tmp_path / "staged", [row])
        assert (image == whole).all()


def test_a_part_of_another_model_is_refused_in_one_sentence(made: Any, tmp_path: Path):
    (model, _), (_, flux) = made("sdxl", 0), made("flux dev", 0)
    source = as_original("transformer", tmp_path, flux, tmp_path)
    with pytest.raises(RecipeError, match="does not fit the model 'sdxl-0' as its unet"):
        image_of(model, tmp_path, parts={"unet": str(source)})


def test_guidance_is_that_of_the_transformer_that_is_given(made: Any, tmp_path: Path):
    (schnell, _), (dev, pipeline) = made("flux schnell", 0), made("flux dev", 0)
    sources = {
        "folder": dev / "transformer",
        "file": as_file("transformer", dev, pipeline, tmp_path).rename(tmp_path / "d.safetensors"),
        "original": as_original("transformer", dev, pipeline, tmp_path),
    }
    assert not resolve("generate", Generate(model=str(schnell))).limits.uses_guidance
    for source in sources.values():
        assert resolve(
            "generate", Generate(model=str(schnell), parts={"transformer": str(source)})
        ).limits.uses_guidance
    plain, image = image_of(dev, tmp_path), image_of(schnell, tmp_path, parts={"transformer": str(sources["original"])})
    assert image.shape == plain.shape


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"transformer": "nowhere"}, r"parts.transformer is given, but the model has no such part"),
        ({"vae": "nowhere"}, r"parts.vae.source is 'nowhere', which is neither"),
        ({"vae": "{here}/empty"}, r"which is not a part: it has no config.json"),
        ({"vae": "{here}/x.ckpt"}, r"a part is a folder with config.json, or a file of safetensors"),
        ({"vae": "{here}/x.safetensors"}, r"which is not safetensors"),
        ({"vae": "{here}/x.gguf"}, r"which is not GGUF"),
        ({"vae": {"source": "{here}/empty", "subfolder": "../../etc"}}, r"lies outside"),
        ({"vae": {"source": "{here}/x.gguf", "subfolder": "a"}}, r"leave subfolder and file out"),
    ],
)
def test_what_is_no_part_is_refused_when_the_recipe_is_read(
    made: Any, tmp_path: Path, parts: dict[str, Any], words: str
):
    model, _ = made("sdxl", 0)
    (tmp_path / "empty").mkdir()
    for name in ("x.ckpt", "x.safetensors", "x.gguf"):
        (tmp_path / name).write_bytes(b"PK\x03\x04" * 9)
    placed = json.loads(json.dumps(parts).replace("{here}", str(tmp_path)))
    with pytest.raises(RecipeError, match=words):
        resolve("generate", Generate(model=str(model), parts=placed))
