"""Converters of a single file's tensors to the names that diffusers and transformers give them.

FLUX.1's are converted here, since diffusers' own converter takes its width to be 3072 (0.42), and text encoders', since
it finds those by their names and by no other ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

Tensors = Mapping[str, torch.Tensor]

_FLUX = {
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "txt_in": "context_embedder",
    "img_in": "x_embedder",
    "final_layer.linear": "proj_out",
}
_DOUBLE = {
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
}
_SINGLE = {
    "modulation.lin": "norm.linear",
    "linear2": "proj_out",
    "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
}
_OPEN_CLIP = {
    "token_embedding": "text_model.embeddings.token_embedding",
    "ln_final": "text_model.final_layer_norm",
}
_OPEN_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def flux_tensors(tensors: Tensors) -> dict[str, torch.Tensor]:
    """A FLUX.1 transformer's tensors, named as diffusers does; others are left out."""
    return dict(_flux(tensors))


def _flux(tensors: Tensors) -> Iterator[tuple[str, torch.Tensor]]:
    width = tensors["img_in.weight"].shape[0]
    for name, tensor in tensors.items():
        layer, _, end = name.rpartition(".")
        # An RMS norm's weight is called scale.
        end = "weight" if end == "scale" else end
        kind, _, rest = layer.partition(".")
        number, _, inner = rest.partition(".")
        if layer == "final_layer.adaLN_modulation.1":
            # The makers have the shift first, diffusers the scale.
            shift, scale = tensor.chunk(2)
            yield f"norm_out.linear.{end}", torch.cat([scale, shift])
        elif layer in _FLUX:
            yield f"{_FLUX[layer]}.{end}", tensor
        elif kind == "double_blocks" and inner.endswith("_attn.qkv"):
            names = ("to_q", "to_k", "to_v") if inner.startswith("img") else ("add_q_proj", "add_k_proj", "add_v_proj")
            for part, chunk in zip(names, tensor.chunk(3), strict=True):
                yield f"transformer_blocks.{number}.attn.{part}.{end}", chunk.contiguous()
        elif kind == "double_blocks" and inner in _DOUBLE:
            yield f"transformer_blocks.{number}.{_DOUBLE[inner]}.{end}", tensor
        elif kind == "single_blocks" and inner == "linear1":
            chunks = tensor.split([width, width, width, tensor.shape[0] - 3 * width])
            for part, chunk in zip(("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"), chunks, strict=True):
                yield f"single_transformer_blocks.{number}.{part}.{end}", chunk.contiguous()
        elif kind == "single_blocks" and inner in _SINGLE:
            yield f"single_transformer_blocks.{number}.{_SINGLE[inner]}.{end}", tensor


def clip_tensors(tensors: Tensors, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """A CLIP text encoder's tensors in the layout of transformers, with or without text_model before their names."""
    named = {}
    for name, tensor in tensors.items():
        if name.endswith("position_ids") or name in ("logit_scale", "text_projection"):
            continue
        plain = name.removeprefix("text_model.")
        named[plain if plain.startswith("text_projection") else f"text_model.{plain}"] = tensor
    if config["architectures"] == ["CLIPTextModelWithProjection"] and "text_projection.weight" not in named:
        # Stable Diffusion 3's files leave out a projection that changes nothing.
        named["text_projection.weight"] = torch.eye(config["projection_dim"])
    return named


def open_clip_tensors(tensors: Tensors, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """A CLIP text encoder's tensors in the layout of OpenCLIP, as transformers names them."""
    return dict(_open_clip(tensors, config))


def _open_clip(tensors: Tensors, config: Mapping[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    is_projected = config["architectures"] == ["CLIPTextModelWithProjection"]
    for name, tensor in tensors.items():
        layer, _, end = name.rpartition(".")
        if name == "positional_embedding":
            yield "text_model.embeddings.position_embedding.weight", tensor
        elif name == "text_projection" and is_projected:
            yield "text_projection.weight", tensor.T.contiguous()
        elif layer in _OPEN_CLIP:
            yield f"{_OPEN_CLIP[layer]}.{end}", tensor
        elif layer.startswith("transformer.resblocks."):
            number, _, inner = layer.removeprefix("transformer.resblocks.").partition(".")
            # The config has one layer less where the last one is not read.
            if int(number) >= config["num_hidden_layers"]:
                continue
            above = f"text_model.encoder.layers.{number}"
            if inner == "attn" and end.startswith("in_proj_"):
                for part, chunk in zip("qkv", tensor.chunk(3), strict=True):
                    yield f"{above}.self_attn.{part}_proj.{end.removeprefix('in_proj_')}", chunk.contiguous()
            elif inner in _OPEN_CLIP_LAYER:
                yield f"{above}.{_OPEN_CLIP_LAYER[inner]}.{end}", tensor
