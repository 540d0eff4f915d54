"""The same random LoRA in the layouts of diffusers, kohya's scripts, ComfyUI and ai-toolkit, for three families."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import diffusers
import torch
from safetensors.torch import save_file

RANK = 4
ALPHA = 2.0
"""Half of the rank: layouts with scales have twice the weights of diffusers', which has none."""

Names = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a layout writes a layer."""

    prefix: str
    down: str = "lora_down"
    up: str = "lora_up"
    separator: str = "."
    """Between the levels of a layer's name."""
    has_scales: bool = True
    as_published: bool = False
    """Whether layers have the names of FLUX.1's makers."""

    def name(self, layer: str) -> str:
        """A layer's name, without what of it the tensor is."""
        return self.prefix + layer.replace(".", self.separator)


LAYERS: dict[str, Names] = {
    "FluxPipeline": {
        "double_blocks.0.img_attn.qkv": tuple(f"transformer_blocks.0.attn.to_{which}" for which in "qkv"),
        "double_blocks.0.img_attn.proj": ("transformer_blocks.0.attn.to_out.0",),
        "double_blocks.0.img_mlp.0": ("transformer_blocks.0.ff.net.0.proj",),
        "double_blocks.0.txt_attn.qkv": tuple(f"transformer_blocks.0.attn.add_{which}_proj" for which in "qkv"),
        "double_blocks.0.txt_mod.lin": ("transformer_blocks.0.norm1_context.linear",),
        "single_blocks.0.linear2": ("single_transformer_blocks.0.proj_out",),
    },
    "QwenImagePipeline": {
        name: (name,)
        for name in (
            *(f"transformer_blocks.0.attn.to_{which}" for which in ("q", "k", "v", "out.0", "add_out")),
            "transformer_blocks.0.attn.add_q_proj",
            "transformer_blocks.0.img_mlp.net.0.proj",
            "transformer_blocks.0.txt_mlp.net.2",
            "transformer_blocks.0.img_mod.1",
            "proj_out",
        )
    },
    "ZImagePipeline": {
        name: (name,)
        for name in (
            *(f"layers.0.attention.to_{which}" for which in ("q", "k", "v", "out.0")),
            "layers.0.feed_forward.w1",
            "layers.0.adaLN_modulation.0",
            "noise_refiner.0.attention.to_q",
            "context_refiner.0.feed_forward.w2",
        )
    },
}
"""Family -> the makers' name of a layer -> diffusers' names of the layers that it is of one piece with."""

DIFFUSERS = Layout("transformer.", "lora_A", "lora_B", has_scales=False)
KOHYA = Layout("lora_unet_", separator="_", as_published=True)
COMFYUI = Layout("diffusion_model.", as_published=True)
AI_TOOLKIT = Layout("diffusion_model.", "lora_A", "lora_B", has_scales=False)
BARE = Layout("", as_published=True)
_PEFT = {
    "peft": Layout("base_model.model.", "lora_A", "lora_B", has_scales=False),
    "no prefix, lora_A": Layout("", "lora_A", "lora_B", has_scales=False),
}

LAYOUTS: dict[str, dict[str, Layout]] = {
    "FluxPipeline": {
        "kohya": KOHYA,
        "ComfyUI": COMFYUI,
        # ai-toolkit writes FLUX.1's as diffusers does, but other families with another prefix.
        "ai-toolkit": DIFFUSERS,
        "ComfyUI with lora_A": Layout("diffusion_model.", "lora_A", "lora_B", has_scales=False, as_published=True),
        "ComfyUI with diffusers' layers": AI_TOOLKIT,
        **_PEFT,
    },
    "QwenImagePipeline": {"kohya": KOHYA, "ComfyUI": COMFYUI, "ai-toolkit": AI_TOOLKIT, "no prefix": BARE, **_PEFT},
    "ZImagePipeline": {"kohya": KOHYA, "ComfyUI": COMFYUI, "ai-toolkit": AI_TOOLKIT, "no prefix": BARE, **_PEFT},
}
"""Family -> tool -> its layout."""


def save_layout(model: Path, file: Path, layout: Layout = DIFFUSERS, seed: int = 0) -> Path:
    """Save the random LoRA of this seed for the tiny model in ``model``, whose folder is named as its family is."""
    pieces = LAYERS[model.name]
    transformer = diffusers.DiffusionPipeline.from_pretrained(model).transformer
    generator, tensors = torch.Generator().manual_seed(seed), {}
    make: Callable[..., torch.Tensor] = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    for piece, layers in pieces.items():
        modules = [transformer.get_submodule(layer) for layer in layers]
        down = make(RANK, modules[0].in_features)
        ups = [make(module.out_features, RANK) for module in modules]
        named = [(piece, torch.cat(ups))] if layout.as_published else list(zip(layers, ups, strict=True))
        for layer, up in named:
            name = layout.name(layer)
            # The scale is a power of two, so that the product is the same to the last bit.
            tensors[f"{name}.{layout.down}.weight"] = (down if layout.has_scales else down * (ALPHA / RANK)).clone()
            tensors[f"{name}.{layout.up}.weight"] = up
            if layout.has_scales:
                tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
    save_file(tensors, file, {"format": "pt"})
    return file
