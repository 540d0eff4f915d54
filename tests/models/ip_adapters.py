"""Random IP-Adapters with image encoders, strong enough to change an image visibly."""

from __future__ import annotations

from pathlib import Path

import diffusers
import torch
import transformers
from safetensors.torch import save_file

TOKENS = 4
"""Tokens of an image prompt; diffusers knows no other number."""
SIDE = 16
"""Size of the image encoder's input in pixels, and of its output."""


def save_ip_adapter(model: Path, folder: Path, seed: int = 0) -> Path:
    """Save a random IP-Adapter for a model's UNet as it is published, and return its folder.

    The weights are ``models/adapter.safetensors``, the encoder ``models/image_encoder``.
    """
    unet = diffusers.UNet2DConditionModel.from_pretrained(model, subfolder="unet")
    words = unet.config.cross_attention_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = transformers.CLIPVisionModelWithProjection(
            transformers.CLIPVisionConfig(
                hidden_size=SIDE,
                intermediate_size=SIDE,
                projection_dim=SIDE,
                image_size=SIDE,
                patch_size=8,
                num_hidden_layers=1,
                num_attention_heads=2,
            )
        )
        weights = {
            "image_proj.proj.weight": torch.randn(TOKENS * words, SIDE),
            "image_proj.proj.bias": torch.randn(TOKENS * words),
            "image_proj.norm.weight": torch.ones(words),
            "image_proj.norm.bias": torch.zeros(words),
        }
        attentions = [name for name in unet.attn_processors if "attn2" in name]
        for number, name in enumerate(attentions):
            layer = unet.get_submodule(name.removesuffix(".processor"))
            for part in ("to_k_ip", "to_v_ip"):
                weights[f"ip_adapter.{2 * number + 1}.{part}.weight"] = torch.randn(layer.inner_dim, words)
    encoder.save_pretrained(folder / "models/image_encoder")
    save_file(weights, folder / "models/adapter.safetensors")
    return folder
