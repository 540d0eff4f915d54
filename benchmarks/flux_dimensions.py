"""Pipeline of FLUX.1-dev's true dimensions with random weights, created on the device: nothing is downloaded.

19 double and 38 single blocks, 24 heads of 128, T5-XXL, CLIP-L and the 16-channel autoencoder, as in the model's public
configuration. The tokenizers are the bundled model's: they only have to return 512 and 77 tokens. With
IMAGEMILL_BENCHMARK_TINY=1 everything is tiny, so that the benchmark itself can be tried on a CPU.

IMAGEMILL_PIPELINE=benchmarks.flux_dimensions:make_pipeline
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

BUNDLED = Path(__file__).parents[1] / "models" / "bundled" / "model"

TRANSFORMER = {
    "in_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
}
T5 = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
CLIP = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 16,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
TINY: dict[str, dict[str, Any]] = {
    "transformer": {
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 32,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        "axes_dims_rope": (8, 12, 12),
    },
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4},
    "clip": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
    "vae": {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1},
}


def make_pipeline(spec: Any, device: torch.device) -> Any:
    """Return the pipeline in the spec's dtype, quantized if the spec is."""
    changes = TINY if os.environ.get("IMAGEMILL_BENCHMARK_TINY") else {}
    pipeline = random_pipeline(getattr(torch, spec.dtype), device, changes)
    if spec.memory.quantization == "torchao_float8_dynamic":
        from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, quantize_

        quantize_(pipeline.transformer, Float8DynamicActivationFloat8WeightConfig())
    return pipeline


def random_pipeline(dtype: torch.dtype, device: torch.device, changes: Mapping[str, Mapping[str, Any]]) -> Any:
    """A pipeline with random weights, made on the device. ``changes``: part -> fields of its configuration."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    part = {name: changes.get(name, {}) for name in TINY}
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            pipeline = FluxPipeline(
                scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
                vae=AutoencoderKL(**{**VAE, **part["vae"]}),
                text_encoder=CLIPTextModel(CLIPTextConfig(**{**CLIP, **part["clip"]})),
                tokenizer=AutoTokenizer.from_pretrained(BUNDLED / "tokenizer", model_max_length=77),
                text_encoder_2=T5EncoderModel(T5Config(**{**T5, **part["t5"]})),
                tokenizer_2=AutoTokenizer.from_pretrained(BUNDLED / "tokenizer_2", model_max_length=512),
                transformer=FluxTransformer2DModel(**{**TRANSFORMER, **part["transformer"]}),
            )
    finally:
        torch.set_default_dtype(before)
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            # As from_pretrained leaves it: in training, dropout would draw random numbers.
            component.eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)
