"""Memory settings of a recipe: quantization while a pipeline is loaded, slicing and offload afterwards."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from imagemill.data.config.memory import Memory
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading.memory.model_offload import offload_parts
from imagemill.models.loading.memory.part_sizes import BYTES_PER_WEIGHT, PartSize, model_sizes

DENOISERS = ("transformer", "unet")
"""Names of the parts that run at every step, which are always quantized."""

NAMED = (*DENOISERS, "text_encoder_2", "text_encoder_3")
"""Parts that are quantized in families whose other parts are small (ModelSpec.quantized)."""

LARGE_WEIGHTS = 500_000_000
"""Weights of a large part: a gigabyte in 16 bits."""

_AUTOENCODERS = ("vae", "vqvae", "movq")
"""In an autoencoder quantization would be visible."""


def quantized_parts(spec: ModelSpec, parts: Mapping[str, PartSize]) -> list[str]:
    """The names of the parts that the spec's memory settings quantize, the largest first.

    Not those whose files are quantized: they are loaded as they are.
    """
    if spec.memory.quantization == "none":
        return []
    parts = {name: size for name, size in parts.items() if not size.is_quantized}
    if spec.memory.quantization == "float8_storage":
        chosen = [name for name in DENOISERS if name in parts]
    elif spec.quantized == "named":
        chosen = [name for name in NAMED if name in parts]
    else:
        chosen = [name for name, size in parts.items() if name in DENOISERS or _is_large(name, size)]
    return sorted(chosen, key=lambda name: -parts[name].weights)


def _is_large(name: str, size: PartSize) -> bool:
    is_model = size.library in ("diffusers", "transformers") and not name.startswith(_AUTOENCODERS)
    return is_model and size.weights >= LARGE_WEIGHTS


def quantization(spec: ModelSpec, parts: Mapping[str, PartSize], device: torch.device) -> dict[str, Any]:
    """Arguments of a pipeline's ``from_pretrained`` that quantize its parts.

    Raises RecipeError where the package is not installed, or needs a GPU.
    """
    names = quantized_parts(spec, parts)
    if not names or spec.memory.quantization == "float8_storage":
        return {}
    from diffusers import PipelineQuantizationConfig

    mapping = {name: part_quantization(spec, parts[name].library, device) for name in names}
    return {"quantization_config": PipelineQuantizationConfig(quant_mapping=mapping)}


def loaded_bytes(spec: ModelSpec, folder: Path, shared: Container[str]) -> list[int]:
    """Bytes in memory of each part that a spec's pipeline loads from a folder, but those that are ``shared``."""
    parts = {name: size for name, size in model_sizes(spec, folder).items() if name not in shared}
    small = quantized_parts(spec, parts)
    bytes_per_weight = getattr(torch, spec.dtype).itemsize
    quantized = BYTES_PER_WEIGHT.get(spec.memory.quantization)
    return [size.loaded_bytes(bytes_per_weight, quantized if name in small else None) for name, size in parts.items()]


def device_bytes(spec: ModelSpec, parts: Sequence[int]) -> int:
    """Bytes on the device of parts with these sizes: with offload, those that are on it at the same time."""
    match spec.memory.offload:
        case "none":
            return sum(parts)
        case "model":
            return max(parts, default=0)
    # Single layers or groups of them, beside which the activations count.
    return 0


def part_quantization(spec: ModelSpec, library: str, device: torch.device) -> Any:
    """The quantization that one part is loaded with, as its library wants it; None for none, or one that comes later.

    Raises RecipeError as ``quantization`` does.
    """
    if spec.memory.quantization in ("none", "float8_storage"):
        return None
    kind, package = spec.memory.quantization, spec.memory.quantization.split("_")[0]
    if find_spec(package) is None:
        raise RecipeError(
            f"the model {shown(spec.name)} is to be quantized with {kind}, and the package {shown(package)} is not "
            f"installed on this worker: pip install 'imagemill[{package}]', or set memory.quantization to none."
        )
    if package == "bitsandbytes" and device.type != "cuda":
        raise RecipeError(
            f"the model {shown(spec.name)} is to be quantized with {kind}, which needs an NVIDIA GPU, and this worker "
            "has none: set memory.quantization to torchao_int8 or none."
        )
    configs: Any = import_module("transformers" if library == "transformers" else "diffusers")
    if package == "torchao":
        return configs.TorchAoConfig(_torchao(kind))
    if kind == "bitsandbytes_8bit":
        return configs.BitsAndBytesConfig(load_in_8bit=True)
    dtype = getattr(torch, spec.dtype)
    return configs.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _torchao(kind: str) -> Any:
    from torchao.quantization import (
        Float8DynamicActivationFloat8WeightConfig,
        Float8WeightOnlyConfig,
        Int8WeightOnlyConfig,
    )

    kinds = {
        "torchao_int8": Int8WeightOnlyConfig,
        "torchao_float8": Float8WeightOnlyConfig,
        "torchao_float8_dynamic": Float8DynamicActivationFloat8WeightConfig,
    }
    return kinds[kind]()


def stays_on_device(memory: Memory, device: torch.device) -> bool:
    """True if a pipeline's weights are all on the device at once: without offload, and on a CPU, which has none."""
    return memory.offload == "none" or device.type == "cpu"


def loads_to_device(memory: Memory, device: torch.device) -> bool:
    """Test for weights that go straight to the device; those that the host makes smaller first do not."""
    return stays_on_device(memory, device) and memory.quantization != "float8_storage"


def apply_offload(pipeline: Any, memory: Memory, device: torch.device, model: str) -> Any:
    """The pipeline on the device, or offloaded to host memory, with slicing and tiling as the recipe has them.

    Raises RecipeError where the pipeline does not support a setting.
    """
    vae = getattr(pipeline, "vae", None)
    for setting, is_on, part, method in (
        ("attention_slicing", memory.attention_slicing, pipeline, "enable_attention_slicing"),
        ("vae_slicing", memory.vae_slicing, vae, "enable_slicing"),
        ("vae_tiling", memory.vae_tiling, vae, "enable_tiling"),
    ):
        if not is_on:
            continue
        if not hasattr(part, method):
            raise RecipeError(
                f"the model {shown(model)} has no memory.{setting}: {type(part).__name__} does not support it. Leave "
                "it out."
            )
        getattr(part, method)()
    if stays_on_device(memory, device):
        return pipeline.to(device)
    match memory.offload:
        case "model":
            offload_parts(pipeline, device)
        case "sequential":
            pipeline.enable_sequential_cpu_offload(device=device)
        case "group":
            pipeline.enable_group_offload(device, offload_type="leaf_level", use_stream=device.type == "cuda")
    return pipeline
