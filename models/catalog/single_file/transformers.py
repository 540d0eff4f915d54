"""Configurations of the transformers of FLUX.1 and Stable Diffusion 3, from the shapes of their tensors."""

from __future__ import annotations

import math
from typing import Any

from imagemill.models.catalog.single_file.unet import HEAD, Shapes, count


def flux_config(shapes: Shapes) -> dict[str, Any]:
    """The arguments of diffusers' FluxTransformer2DModel, in the layout of its makers.

    Raises KeyError where a tensor that it needs is missing.
    """
    head, inner = shapes["double_blocks.0.img_attn.norm.key_norm.scale"][0], shapes["img_in.weight"][0]
    return {
        "_class_name": "FluxTransformer2DModel",
        "attention_head_dim": head,
        "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
        "in_channels": shapes["img_in.weight"][1],
        "joint_attention_dim": shapes["txt_in.weight"][1],
        "num_attention_heads": inner // head,
        "num_layers": count(shapes, "double_blocks."),
        "num_single_layers": count(shapes, "single_blocks."),
        "out_channels": shapes["final_layer.linear.weight"][0],
        "patch_size": 1,
        "pooled_projection_dim": shapes["vector_in.in_layer.weight"][1],
    }


def sd3_config(shapes: Shapes) -> dict[str, Any]:
    """The arguments of diffusers' SD3Transformer2DModel, in the layout of its makers.

    Raises KeyError where a tensor that it needs is missing.
    """
    inner, latents, patch, _ = shapes["x_embedder.proj.weight"]
    layers = count(shapes, "joint_blocks.")
    two = [layer for layer in range(layers) if f"joint_blocks.{layer}.x_block.attn2.qkv.weight" in shapes]
    return {
        "_class_name": "SD3Transformer2DModel",
        "attention_head_dim": HEAD,
        "caption_projection_dim": shapes["context_embedder.weight"][0],
        "dual_attention_layers": two,
        "in_channels": latents,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "num_attention_heads": inner // HEAD,
        "num_layers": layers,
        "out_channels": latents,
        "patch_size": patch,
        "pooled_projection_dim": shapes["y_embedder.mlp.0.weight"][1],
        "pos_embed_max_size": math.isqrt(shapes["pos_embed"][1]),
        "qk_norm": "rms_norm" if "joint_blocks.0.x_block.attn.ln_q.weight" in shapes else None,
        "sample_size": 128,
    }
