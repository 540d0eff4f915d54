"""A LoRA generates the same image in whichever layout it was saved, and the build learns how much of it fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.resolve import resolve
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.adapters import save_lora
from tests.models.jobs import generated, silent
from tests.models.lora_layouts import LAYOUTS, save_layout
from tests.models.tiny import save_tiny

CASES = [(family, layout) for family, layouts in LAYOUTS.items() for layout in layouts]


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cache, "_resident", {})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {family: save_tiny(family, folder) for family in LAYOUTS}


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., np.ndarray]:
    """One image of a model with these LoRAs."""
    numbers = iter(range(100))

    def run(model: Path, lora: Any = None) -> np.ndarray:
        spec = resolve("generate", Generate(model=str(model), lora=lora, dtype="float32"))
        drawing = Drawing(f"{0:032x}", "a fox", seed=1, steps=2, width=64, height=64)
        [found] = generated(spec, tmp_path / str(next(numbers)), [drawing])
        return found.astype(int)

    return run


def loras_of(model: Path, lora: Any) -> list[dict[str, Any]]:
    """What the event of the loaded model says of its LoRAs."""
    events: list[dict[str, Any]] = []
    resident_pipeline(resolve("generate", Generate(model=str(model), lora=lora)), events.append)
    [loaded] = [event for event in events if event["kind"] == "loaded"]
    return loaded["loras"]


@pytest.mark.parametrize(("family", "layout"), CASES)
def test_a_lora_generates_the_same_in_each_layout(
    family: str, layout: str, models: dict[str, Path], image: Callable, tmp_path: Path
):
    model = models[family]
    reference = save_layout(model, tmp_path / "reference.safetensors")
    other = save_layout(model, tmp_path / "other.safetensors", LAYOUTS[family][layout])
    styled = image(model, str(reference))
    assert abs(image(model, str(other)) - styled).max() == 0
    assert abs(styled - image(model)).max() > 2


@pytest.mark.parametrize(("family", "layout"), CASES)
def test_all_tensors_of_a_lora_that_fits_are_counted(family: str, layout: str, models: dict[str, Path], tmp_path: Path):
    lora = save_layout(models[family], tmp_path / "style.safetensors", LAYOUTS[family][layout])
    weights = sum(not name.endswith(".alpha") for name in load_file(lora))
    assert loras_of(models[family], str(lora)) == [{"lora": lora.name, "used": weights, "tensors": weights}]


@pytest.mark.parametrize("family", LAYOUTS)
def test_several_loras_of_different_layouts_count_by_their_weights(
    family: str, models: dict[str, Path], image: Callable, tmp_path: Path
):
    model = models[family]
    files = [save_layout(model, tmp_path / f"d{seed}.safetensors", seed=seed) for seed in (0, 1)]
    others = [
        save_layout(model, tmp_path / f"o{seed}.safetensors", LAYOUTS[family][layout], seed)
        for seed, layout in enumerate(("kohya", "ComfyUI"))
    ]
    weighted = [
        [{"source": str(file), "weight": weight} for file, weight in zip(found, (0.5, -0.25), strict=True)]
        for found in (files, others)
    ]
    both = image(model, weighted[0])
    assert abs(image(model, weighted[1]) - both).max() == 0
    alone = [image(model, lora) for lora in (None, weighted[0][0], weighted[0][1])]
    assert all(abs(both - one).max() > 0 for one in alone)


@pytest.mark.parametrize("family", LAYOUTS)
def test_tensors_without_a_layer_are_counted_and_the_first_is_named(
    family: str, models: dict[str, Path], tmp_path: Path
):
    lora = save_layout(models[family], tmp_path / "style.safetensors")
    tensors = load_file(lora)
    more = {f"transformer.nowhere.7.{which}.weight": torch.ones(4, 4) for which in ("lora_A", "lora_B")}
    save_file({**tensors, **more}, lora, {"format": "pt"})
    [found] = loras_of(models[family], str(lora))
    assert (found["used"], found["tensors"]) == (len(tensors), len(tensors) + 2)
    assert found["first"] == "transformer.nowhere.7.lora_A.weight"


@pytest.mark.parametrize("family", ["StableDiffusionPipeline", "StableDiffusionXLPipeline"])
@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_the_older_families_count_too(family: str, part: str, tmp_path: Path):
    model = save_tiny(family, tmp_path)
    [found] = loras_of(model, str(save_lora(model, tmp_path / "style.safetensors", part=part)))
    assert found["used"] == found["tensors"] > 0
    assert "first" not in found


def lycoris(model: Path, file: Path, kind: str) -> Path:
    """A file with the names of a LyCORIS adapter, and for Z-Image weights that fit."""
    names = {"LoHa": ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"], "LoKr": ["lokr_w1", "lokr_w2"]}[kind]
    generator = torch.Generator().manual_seed(0)
    layers = [f"diffusion_model.layers.0.attention.to_{which}" for which in "qkv"]
    shapes = {"lokr_w1": (4, 4), "lokr_w2": (8, 8)}
    tensors = {
        f"{layer}.{name}": torch.randn(shapes.get(name, (4, 4)), generator=generator)
        for layer in layers
        for name in names
    }
    save_file(tensors, file, {"format": "pt"})
    return file


@pytest.mark.parametrize(
    ("family", "kind", "why"),
    [
        ("FluxPipeline", "LoHa", "is a LyCORIS LoHa, which diffusers cannot load: take the LoRA"),
        ("ZImagePipeline", "LoHa", "is a LyCORIS LoHa, which diffusers cannot load: take the LoRA"),
        ("FluxPipeline", "LoKr", r"is a LyCORIS LoKr, which diffusers loads for FLUX\.2 and Z-Image alone"),
        ("QwenImagePipeline", "LoKr", r"is a LyCORIS LoKr, .* not for a QwenImagePipeline"),
    ],
)
def test_an_adapter_that_diffusers_cannot_load_is_refused_by_its_kind(
    family: str, kind: str, why: str, models: dict[str, Path], tmp_path: Path
):
    file = lycoris(models[family], tmp_path / "style.safetensors", kind)
    with pytest.raises(
        RecipeError, match=rf"^recipe\.generate\.lora\.0\.source is '.*style\.safetensors', which {why}"
    ):
        resolve("generate", Generate(model=str(models[family]), lora=str(file)))


def test_one_of_a_repository_is_refused_when_its_file_is_here(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--studio--style" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    lycoris(models["FluxPipeline"], snapshot / "style.safetensors", "LoHa")
    section = Generate(model=str(models["FluxPipeline"]), lora={"source": "studio/style", "revision": commit})
    spec = resolve("generate", section, str(tmp_path))
    with pytest.raises(RecipeError, match=r"the LoRA 'studio/style/style\.safetensors' is a LyCORIS LoHa, which"):
        resident_pipeline(spec, silent)


def test_z_image_takes_a_lokr(models: dict[str, Path], image: Callable, tmp_path: Path):
    model = models["ZImagePipeline"]
    file = lycoris(model, tmp_path / "style.safetensors", "LoKr")
    assert loras_of(model, str(file)) == [{"lora": file.name, "used": 6, "tensors": 6}]
    plain = image(model)
    assert abs(image(model, str(file)) - plain).max() > 2
    assert abs(image(model, {"source": str(file), "weight": 0}) - plain).max() == 0
