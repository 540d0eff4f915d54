"""Memory settings of a recipe: quantization while a pipeline is loaded, slicing and offload afterwards."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from imagemill.data.config.memory import Memory
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown

QUANTIZED = ("transformer", "unet", "text_encoder_2", "text_encoder_3")
"""The large parts, which are quantized where a pipeline has them. In an autoencoder it would be visible."""


def quantization(memory: Memory, dtype: torch.dtype, model: str, parts: set[str]) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` for quantization. Raises RecipeError where its package is not installed."""
    if memory.quantization == "none":
        return {}
    package = memory.quantization.split("_")[0]
    if find_spec(package) is None:
        raise RecipeError(
            f"the model {shown(model)} is to be quantized with {memory.quantization}, and the package "
            f"{shown(package)} is not "
            f"installed on this worker: pip install 'imagemill[{package}]', or set memory.quantization to none."
        )
    from diffusers import PipelineQuantizationConfig

    large = [name for name in QUANTIZED if name in parts]
    if package == "torchao":
        return {"quantization_config": PipelineQuantizationConfig(quant_mapping=_torchao(memory.quantization, large))}
    kwargs = {"load_in_8bit": True}
    if memory.quantization == "bitsandbytes_4bit":
        kwargs = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    config = PipelineQuantizationConfig(
        quant_backend=memory.quantization, quant_kwargs=kwargs, components_to_quantize=large
    )
    return {"quantization_config": config}


def _torchao(kind: str, parts: list[str]) -> dict[str, Any]:
    import diffusers
    import transformers
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
    weights = kinds[kind]()
    # Text encoders are models of transformers, the other parts of diffusers.
    return {
        name: (transformers if name.startswith("text_encoder") else diffusers).TorchAoConfig(weights) for name in parts
    }


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
    if memory.offload == "none" or device.type == "cpu":
        return pipeline.to(device)
    match memory.offload:
        case "model":
            pipeline.enable_model_cpu_offload(device=device)
        case "sequential":
            pipeline.enable_sequential_cpu_offload(device=device)
        case "group":
            pipeline.enable_group_offload(device, offload_type="leaf_level", use_stream=device.type == "cuda")
    return pipeline
