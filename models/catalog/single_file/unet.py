"""Configuration of a UNet of Stable Diffusion, from the shapes of its tensors in the original layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor, without its part's prefix -> shape."""

HEAD = 64
"""Channels of an attention head in Stable Diffusion 2 and XL; Stable Diffusion 1 has eight heads of any width."""


def unet_config(shapes: Shapes) -> dict[str, Any]:
    """The arguments of diffusers' UNet2DConditionModel. Raises KeyError where a tensor that it needs is missing."""
    levels = _levels(shapes)
    channels = [level[0][0] for level in levels]
    depths = [level[0][1] for level in levels]
    has_text = [depth > 0 for depth in depths]
    context = next(shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight"))
    linear = any(name.endswith(".1.proj_in.weight") and len(shape) == 2 for name, shape in shapes.items())
    is_xl = is_sdxl(shapes)
    config: dict[str, Any] = {
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "attention_head_dim": [max(1, count // HEAD) for count in channels] if linear else 8,
        "block_out_channels": channels,
        "center_input_sample": False,
        "cross_attention_dim": context,
        "down_block_types": ["CrossAttnDownBlock2D" if text else "DownBlock2D" for text in has_text],
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "layers_per_block": len(levels[0]),
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": 32,
        "out_channels": shapes["out.2.weight"][0],
        "sample_size": 128 if is_xl else 64,
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if text else "UpBlock2D" for text in reversed(has_text)],
        "use_linear_projection": linear,
    }
    if is_xl:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": shapes["label_emb.0.0.weight"][1],
        }
    elif linear:
        # Its attention overflows in float16.
        config["upcast_attention"] = True
    return config


def is_sdxl(shapes: Shapes) -> bool:
    """True if it is XL's, which alone is conditioned on an image's size."""
    return "label_emb.0.0.weight" in shapes


def is_sd2(shapes: Shapes) -> bool:
    """True if it is Stable Diffusion 2's, which reads OpenCLIP's 1024 numbers a token."""
    return not is_sdxl(shapes) and any(
        name.endswith("attn2.to_k.weight") and shape[1] == 1024 for name, shape in shapes.items()
    )


def _levels(shapes: Shapes) -> list[list[tuple[int, int]]]:
    """For each resolution its blocks: channels, and how many transformer layers there are in each."""
    levels: list[list[tuple[int, int]]] = [[]]
    number = 1
    while True:
        block = f"input_blocks.{number}"
        if f"{block}.0.op.weight" in shapes:
            levels.append([])
        elif f"{block}.0.out_layers.3.weight" in shapes:
            levels[-1].append(
                (shapes[f"{block}.0.out_layers.3.weight"][0], count(shapes, f"{block}.1.transformer_blocks."))
            )
        else:
            return levels
        number += 1


def count(shapes: Shapes, prefix: str) -> int:
    """Number of numbered layers below a prefix."""
    return len({name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)})
