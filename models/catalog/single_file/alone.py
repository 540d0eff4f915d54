"""Contents of a file that is one part alone: its layout, and its configuration where the file shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imagemill.models.catalog.single_file.checkpoint import DENOISER_PREFIXES, VAE_PREFIXES
from imagemill.models.catalog.single_file.contents import FilePart
from imagemill.models.catalog.single_file.header import Header
from imagemill.models.catalog.single_file.parts import (
    LATENTS,
    autoencoder_config,
    clip_config,
    open_clip_config,
    t5_config,
)
from imagemill.models.catalog.single_file.transformers import flux_config, sd3_config
from imagemill.models.catalog.single_file.unet import Shapes, unet_config

_ENCODER_PREFIXES = (
    "cond_stage_model.transformer.",
    "conditioner.embedders.0.transformer.",
    "text_encoders.clip_l.transformer.",
    "text_encoders.clip_g.transformer.",
    "text_encoders.t5xxl.transformer.",
    "",
)
_MARKS: Mapping[str, tuple[str, ...]] = {
    "UNet2DConditionModel": ("input_blocks.0.0.weight",),
    "FluxTransformer2DModel": ("double_blocks.0.img_attn.norm.key_norm.scale",),
    "SD3Transformer2DModel": ("joint_blocks.0.x_block.attn.qkv.weight",),
    "AutoencoderKL": ("encoder.down.0.block.0.conv1.weight",),
}
"""Class -> a tensor that its makers' layout has, and that of diffusers has not."""

_LATENTS = {"StableDiffusion3": "sd3", "StableDiffusionXL": "sdxl", "StableDiffusion": "sd", "Flux": "flux"}


def read_part(header: Header, name: str, kind: str, family: str, own: Mapping[str, Any] | None) -> FilePart | None:
    """The part of this name and class that a file is, for a pipeline of this family.

    ``own``: the configuration of the part that it replaces; None where the model has none. None where the file does not
    show its configuration, and there is none to take.
    """
    if kind.startswith("CLIPText") or kind == "T5EncoderModel":
        return _encoder(header, name, kind, own)
    prefixes = (*VAE_PREFIXES, "") if kind.startswith("Autoencoder") else DENOISER_PREFIXES
    prefix = next(prefix for prefix in prefixes if not prefix or any(n.startswith(prefix) for n in header.tensors))
    shapes = header.below(prefix)
    if any(mark in shapes for mark in _MARKS.get(kind, ())):
        found = _original(kind, family, shapes)
        # What no tensor shows is as the replaced part has it: the numbers of its latents, for instance.
        shown = {**(own or {}), **found} if kind != "AutoencoderKL" else {**found, **_scales(own)}
        return FilePart(prefix, "original", shown)
    return FilePart(prefix, "diffusers", {**own, "_class_name": kind}) if own else None


def _original(kind: str, family: str, shapes: Shapes) -> dict[str, Any]:
    readers = {
        "UNet2DConditionModel": unet_config,
        "FluxTransformer2DModel": flux_config,
        "SD3Transformer2DModel": sd3_config,
    }
    if kind in readers:
        return readers[kind](shapes)
    return autoencoder_config(shapes, LATENTS[next(it for name, it in _LATENTS.items() if family.startswith(name))])


def _scales(own: Mapping[str, Any] | None) -> dict[str, Any]:
    names = ("scaling_factor", "shift_factor", "force_upcast", "sample_size", "latents_mean", "latents_std")
    return {name: own[name] for name in names if own and name in own}


def _encoder(header: Header, name: str, kind: str, own: Mapping[str, Any] | None) -> FilePart:
    prefix = next(prefix for prefix in _ENCODER_PREFIXES if any(key.startswith(prefix) for key in header.tensors))
    shapes = header.below(prefix)
    if kind == "T5EncoderModel":
        found = FilePart(prefix, "t5", t5_config(shapes))
    elif "token_embedding.weight" in shapes:
        found = FilePart(prefix, "open_clip", open_clip_config(shapes, kind))
    else:
        plain = {key.removeprefix("text_model."): shape for key, shape in shapes.items()}
        # The first one is OpenAI's own, in families that have two.
        found = FilePart(prefix, "clip", clip_config(plain, kind, "quick_gelu" if name == "text_encoder" else "gelu"))
    return replace(found, config={**found.config, **own, "architectures": [kind]}) if own else found
