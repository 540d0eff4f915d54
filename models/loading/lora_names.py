"""Names of a LoRA's tensors that diffusers reads nothing of, put into ones that it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

_NAME = re.compile(r"(?:base_model\.model\.|diffusion_model\.)?(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
"""A name with peft's prefix, ComfyUI's, or none."""
_PUBLISHED = re.compile(r"(double|single)_blocks\.\d+\.")
"""Layers with the names of FLUX.1's makers."""
_FLUX = "FluxTransformer2DModel"
_TRANSFORMERS = (_FLUX, "QwenImageTransformer2DModel", "ZImageTransformer2DModel")
"""Classes whose loaders read diffusers' names of layers with few prefixes, and FLUX.1's own with `lora_down` alone."""


def readable(tensors: Mapping[str, torch.Tensor], transformer: torch.nn.Module | None) -> dict[str, torch.Tensor]:
    """The tensors of a LoRA, named so that diffusers reads them; unchanged where it does, or where nothing is known.

    ``transformer``: the pipeline's; None for one with a UNet.
    """
    found = {name: match for name in tensors if (match := _NAME.fullmatch(name))}
    kind = type(transformer).__name__
    if transformer is None or kind not in _TRANSFORMERS or len(found) < len(tensors):
        return dict(tensors)
    modules = {name for name, _ in transformer.named_modules()}
    if any(match["layer"] in modules for match in found.values()):
        return {
            f"transformer.{match['layer']}.lora_{match['side']}.weight": tensors[name] for name, match in found.items()
        }
    # Of peft's prefix with these names there is one known kind of file, which diffusers reads.
    is_bare = not any(name.startswith(("base_model.", "transformer.", "text_encoder")) for name in tensors)
    if kind == _FLUX and is_bare and any(_PUBLISHED.match(match["layer"]) for match in found.values()):
        sides = {"A": "lora_down", "B": "lora_up"}
        return {
            f"diffusion_model.{match['layer']}.{sides[match['side']]}.weight": tensors[name]
            for name, match in found.items()
        }
    return dict(tensors)
