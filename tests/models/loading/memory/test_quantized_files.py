"""Folders with quantized weights load as they are; what cannot be loaded is refused before a build begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers

from imagemill.data.config.memory import Memory
from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.capabilities import check_settings
from imagemill.models.catalog.families import packages
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.device_memory import bytes_of, weights_of
from imagemill.models.loading.memory.offload import loaded_bytes, quantized_parts
from imagemill.models.loading.memory.part_sizes import part_sizes
from imagemill.models.loading.memory.quantized_files import is_quantized
from imagemill.models.loading.pipeline import extra_components, load_pipeline
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.catalog.folders import COMMIT
from tests.models.jobs import generated, silent
from tests.models.tiny import save_tiny

CPU = torch.device("cpu")
numbers = count(1)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cache, "_resident", {})


def torchao_config(library: Any) -> Any:
    pytest.importorskip("torchao")
    from torchao.quantization import Int8WeightOnlyConfig

    return library.TorchAoConfig(Int8WeightOnlyConfig(version=2))


def bitsandbytes_config(library: Any, bits: int) -> Any:
    pytest.importorskip("bitsandbytes")
    return library.BitsAndBytesConfig(
        load_in_4bit=bits == 4, load_in_8bit=bits == 8, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def quantize(folder: Path, part: str, config: Callable[[Any], Any], target: Path | None = None) -> torch.nn.Module:
    """Replace a part of a saved model by its quantized weights, or save those elsewhere; returns it as it was made."""
    library, kind = json.loads((folder / "model_index.json").read_text())[part]
    library = {"diffusers": diffusers, "transformers": transformers}[library]
    found = getattr(library, kind).from_pretrained(
        folder / part, dtype=torch.bfloat16, quantization_config=config(library)
    )
    for path in (folder / part).glob("*.safetensors") if target is None else ():
        path.unlink()
    found.save_pretrained(target or folder / part)
    return found


def row() -> Drawing:
    return Drawing(f"{next(numbers):032x}", "a fox", seed=3, steps=2, guidance_scale=3.0, width=64, height=64)


def image_of(spec: ModelSpec, tmp_path: Path) -> np.ndarray:
    return generated(spec, tmp_path / "staged", [row()])[0]


def spec_of(folder: Path, **settings: Any) -> ModelSpec:
    return resolve("generate", Generate(model=str(folder), dtype="bfloat16", **settings))


def write_config(part: Path, **quantization: Any) -> None:
    config = json.loads((part / "config.json").read_text())
    (part / "config.json").write_text(json.dumps({**config, "quantization_config": quantization}))


KINDS = {
    "torchao": ("torchao", torchao_config),
    "bitsandbytes 8": ("bitsandbytes_8bit", lambda library: bitsandbytes_config(library, 8)),
    "bitsandbytes 4": ("bitsandbytes_4bit", lambda library: bitsandbytes_config(library, 4)),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "part", "kind"),
    [
        ("FluxPipeline", "transformer", "torchao"),
        ("QwenImagePipeline", "transformer", "torchao"),
        ("StableDiffusion3Pipeline", "transformer", "torchao"),
        ("QwenImagePipeline", "text_encoder", "torchao"),
        # diffusers loads its parts with bitsandbytes on a GPU alone.
        ("FluxPipeline", "text_encoder_2", "bitsandbytes 8"),
        ("QwenImagePipeline", "text_encoder", "bitsandbytes 8"),
    ],
)
def test_a_folder_with_quantized_weights_generates_what_they_do_in_memory(
    family: str, part: str, kind: str, tmp_path: Path
):
    folder = save_tiny(family, tmp_path)
    plain = image_of(spec_of(folder), tmp_path)
    method, config = KINDS[kind]
    made = quantize(folder, part, config)
    spec = spec_of(folder)
    assert spec.quantized_files == {part: method}
    found = image_of(spec, tmp_path)
    resident = pipeline_cache._resident[spec.weights_key]
    pipeline = next(iter(resident.pipelines.values()))
    loaded = getattr(pipeline, part)
    assert is_quantized(loaded)
    assert {type(weight) for weight in loaded.parameters()} == {type(weight) for weight in made.parameters()}
    # The same pipeline around the part that was never saved.
    setattr(pipeline, part, made.eval())
    expected = image_of(spec, tmp_path)
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, plain)
    assert sum(loaded_bytes(spec, folder, ())) == pytest.approx(bytes_of(weights_of(pipeline).values()), rel=0.15)


@pytest.mark.slow
def test_a_parts_folder_with_quantized_weights_generates_what_the_model_with_them_does(tmp_path: Path):
    folder = save_tiny("FluxPipeline", tmp_path)
    quantize(folder, "transformer", torchao_config, tmp_path / "small")
    spec = spec_of(folder, parts={"transformer": str(tmp_path / "small")}, memory=Memory(quantization="torchao_int8"))
    assert spec.quantized_files == {"transformer": "torchao"}
    found = image_of(replace(spec, memory=Memory()), tmp_path)
    quantize(folder, "transformer", torchao_config)
    assert np.array_equal(found, image_of(spec_of(folder), tmp_path))


@pytest.mark.slow
def test_memory_quantization_takes_the_other_parts_alone(tmp_path: Path):
    folder = save_tiny("FluxPipeline", tmp_path)
    quantize(folder, "transformer", torchao_config)
    spec = spec_of(folder, memory=Memory(quantization="torchao_int8"))
    assert quantized_parts(spec, part_sizes(folder)) == ["text_encoder_2"]
    pipeline = load_pipeline(spec, CPU, {})
    assert is_quantized(pipeline.transformer)
    assert is_quantized(pipeline.text_encoder_2)
    assert not is_quantized(pipeline.vae)


@pytest.mark.slow
def test_a_quantized_part_is_dropped_where_a_plain_one_would_be_moved(tmp_path: Path):
    folder = save_tiny("FluxPipeline", tmp_path / "quantized")
    plain = spec_of(save_tiny("StableDiffusionPipeline", tmp_path / "plain"))
    quantize(folder, "transformer", torchao_config)
    spec = spec_of(folder)
    resident_pipeline(plain, silent, 1)
    resident_pipeline(spec, silent, 1)
    assert not pipeline_cache._resident[plain.weights_key].is_on_device
    resident_pipeline(plain, silent, 1)
    assert set(pipeline_cache._resident) == {plain.weights_key}


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> None:
        raise packages.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages.metadata, "distribution", distribution)


CONFIGS = [
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
    # Older ones do not name their method.
    ({"load_in_8bit": True}, "bitsandbytes"),
    ({"quant_method": "torchao"}, "torchao"),
]


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(("config", "package"), CONFIGS)
def test_a_missing_package_is_named_before_a_build_begins(config: dict[str, Any], package: str, tmp_path: Path):
    folder = save_tiny("FluxPipeline", tmp_path)
    write_config(folder / "text_encoder_2", **config)
    why = f"is quantized with {package}, which is not installed: pip install 'imagemill[{package}]'."
    with pytest.raises(RecipeError) as caught:
        spec_of(folder)
    assert str(caught.value).startswith("recipe.generate.model is '")
    assert str(caught.value).endswith(f": its text_encoder_2 {why}")
    (tmp_path / "other").mkdir()
    plain = save_tiny("FluxPipeline", tmp_path / "other")
    part = folder / "text_encoder_2"
    with pytest.raises(RecipeError) as caught:
        spec_of(plain, parts={"text_encoder_2": str(part)})
    assert str(caught.value).startswith("recipe.generate.parts.text_encoder_2 is '")
    assert str(caught.value).endswith(f"text_encoder_2': its text_encoder_2 {why}")
    # Another one in its place, and the part is not loaded.
    assert spec_of(folder, parts={"text_encoder_2": str(plain / "text_encoder_2")}).quantized_files == {}


@pytest.mark.usefixtures("nothing_installed")
def test_a_repositorys_configs_are_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = save_tiny("FluxPipeline", tmp_path)
    write_config(folder / "transformer", quant_method="torchao")
    snapshots = tmp_path / "hub" / "models--studio--small" / "snapshots"
    snapshots.mkdir(parents=True)
    folder.rename(snapshots / COMMIT)
    section = Generate(model="studio/small", revision=COMMIT)
    with pytest.raises(RecipeError, match=r"model is 'studio/small': its transformer is quantized with torchao, which"):
        resolve("generate", section, str(tmp_path / "hub"))


@pytest.mark.parametrize("method", ["nunchaku_lite", "quanto"])
def test_another_method_is_refused_with_those_that_load(method: str, tmp_path: Path):
    folder = save_tiny("FluxPipeline", tmp_path)
    write_config(folder / "transformer", quant_method=method)
    with pytest.raises(
        RecipeError, match=f"its transformer is quantized with {method!r}, which imagemill does not load"
    ):
        spec_of(folder)


@pytest.mark.parametrize(("offload", "method"), [("sequential", "load_in_4bit"), ("group", "load_in_8bit")])
def test_an_offload_that_the_files_quantization_excludes_is_refused(offload: Any, method: str, tmp_path: Path):
    pytest.importorskip("bitsandbytes")
    folder = save_tiny("FluxPipeline", tmp_path)
    write_config(folder / "transformer", quant_method="bitsandbytes", **{method: True})
    check_settings("generate", Generate(model=str(folder)), spec_of(folder, memory=Memory(offload="model")))
    section = Generate(model=str(folder), memory=Memory(offload=offload))
    with pytest.raises(RecipeError, match="which excludes a model that is quantized with bitsandbytes_"):
        check_settings("generate", section, spec_of(folder, memory=section.memory))


def test_without_a_gpu_a_transformer_of_bitsandbytes_is_refused_in_one_sentence(tmp_path: Path):
    pytest.importorskip("bitsandbytes")
    folder = save_tiny("FluxPipeline", tmp_path)
    write_config(folder / "transformer", quant_method="bitsandbytes", load_in_4bit=True)
    spec = spec_of(folder)
    with pytest.raises(RecipeError, match="its transformer is quantized with bitsandbytes_4bit, which needs a GPU"):
        load_pipeline(spec, CPU, {})
    part = spec_of(save_tiny("FluxPipeline", tmp_path / "plain"), parts={"transformer": str(folder / "transformer")})
    with pytest.raises(RecipeError, match="bitsandbytes_4bit, which needs a GPU"):
        extra_components(part, CPU, Path(part.source.location))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["bitsandbytes 8", "bitsandbytes 4"])
def test_a_transformer_of_bitsandbytes_loads_and_is_offloaded(kind: str, tmp_path: Path):
    folder = save_tiny("FluxPipeline", tmp_path)
    quantize(folder, "transformer", KINDS[kind][1])
    images = [image_of(spec_of(folder, memory=Memory(offload=offload)), tmp_path) for offload in ("none", "model")]
    assert np.array_equal(*images)
