"""What steers a generation beside its prompt: a ControlNet loaded beside a pipeline, and its pictures in a call."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

import torch

from data.errors import RecipeError
from models.batches import Asked
from models.spec import ModelSpec

_MUST_AGREE = ("cross_attention_dim", "joint_attention_dim", "addition_embed_type")
"""Fields of a config in which a ControlNet and its model's denoiser agree if they are for each other."""


def load_controlnet(spec: ModelSpec, kind: Any) -> torch.nn.Module:
    """The spec's ControlNet, in host memory. ``kind``: its class. Raises what diffusers raises."""
    found = spec.controlnet
    return kind.from_pretrained(
        found.source,
        subfolder=found.subfolder,
        revision=found.revision,
        cache_dir=spec.cache_dir,
        dtype=getattr(torch, spec.dtype),
        use_safetensors=True,
        token=os.environ.get("HF_TOKEN"),
    )


def check_fit(pipeline: Any, spec: ModelSpec) -> None:
    """Raises RecipeError where the spec's ControlNet is for another model than the pipeline's."""
    if spec.controlnet is None:
        return
    denoiser = getattr(pipeline, "transformer", None) or pipeline.unet
    for name in _MUST_AGREE:
        mine, its = (part.config.get(name) for part in (denoiser, pipeline.controlnet))
        if mine != its:
            raise RecipeError(
                f"the ControlNet {spec.controlnet.source!r} does not fit the model {spec.name!r}: its {name} is {its}, "
                f"and the model's {mine}. Take one that was trained for this model, or leave controlnet out."
            )


def steering(spec: ModelSpec, rows: Sequence[Asked], takes: Collection[str]) -> dict[str, Any]:
    """Arguments of a call for these rows. ``takes``: the names of the arguments that the pipeline takes."""
    if spec.controlnet is None:
        return {}
    pictures = [one.guides["control_image"] for one in rows]
    return {
        # Where a pipeline has no source, most call the control picture their image.
        "control_image" if "control_image" in takes else "image": pictures,
        "controlnet_conditioning_scale": spec.controlnet.scale,
        "control_guidance_start": spec.controlnet.start,
        "control_guidance_end": spec.controlnet.end,
        "control_mode": spec.controlnet.mode,
    }
