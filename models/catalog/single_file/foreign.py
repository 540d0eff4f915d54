"""Messages for single files that are no model which can be loaded alone, each with what to do instead."""

from __future__ import annotations

from collections.abc import Iterable

from imagemill.data.messages import shown

_MARKS: tuple[tuple[str, str], ...] = (
    ("lora_", "a LoRA: name a model, and this file in the step's lora."),
    (".lora", "a LoRA: name a model, and this file in the step's lora."),
    ("control_model.", "a ControlNet: name a model, and a folder or repository of this ControlNet in controlnet."),
    ("controlnet", "a ControlNet: name a model, and a folder or repository of this ControlNet in controlnet."),
    ("image_proj", "an IP-Adapter: name a model, and this file in the step's ip_adapter."),
    ("distilled_guidance_layer", "the transformer of Chroma"),
    ("double_stream_modulation", "the transformer of FLUX.2"),
    ("txt_in.text_norm", "the transformer of Qwen-Image 2.1"),
    ("img_mod.1", "the transformer of Qwen-Image"),
    ("noise_refiner", "the transformer of Z-Image or Lumina 2"),
    ("double_stream_blocks", "the transformer of HiDream"),
    ("cross_attn.q_linear", "the transformer of SANA"),
    ("down_blocks.0.resnets", "a part in the layout of diffusers"),
    ("transformer_blocks.0.", "a part in the layout of diffusers"),
    ("encoder.down.0.block", "an autoencoder"),
    ("first_stage_model.", "an autoencoder"),
    ("text_model.", "a text encoder"),
    ("shared.weight", "a text encoder"),
)
"""Part of a tensor's name -> what its file is; the first that fits."""


def what_else(names: Iterable[str]) -> str:
    """The second half of a sentence about a file that has tensors with these names."""
    found = list(names)
    for mark, kind in _MARKS:
        if any(mark in name for name in found):
            return kind if kind.endswith(".") else f"{_alone(kind)}"
    example = shown(min(found, default="none"))
    return (
        f"which is no checkpoint that imagemill knows ({len(found)} tensors, such as {example}). It loads single files "
        "of Stable Diffusion 1.5, 2, XL and 3 and FLUX.1: of another model name a folder or a repository."
    )


def _alone(kind: str) -> str:
    return (
        f"{kind}, and no whole model: name the model's folder, repository or name in the catalog, and this file in the "
        "step's parts, such as parts: {transformer: FILE}."
    )
