"""Random ControlNets, strong enough to change an image visibly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch


def save_controlnet(model: Path, folder: Path, seed: int = 0, **more: Any) -> Path:
    """Save a random ControlNet for a model's UNet or transformer, and return its folder."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        controlnet = _of(pipeline, **more)
        # Its outputs are zero at first, so that training starts from the model's own images.
        for weights in controlnet.parameters():
            if not weights.any():
                torch.nn.init.normal_(weights, std=0.5)
    controlnet.save_pretrained(folder, safe_serialization=True)
    return folder


def _of(pipeline: Any, **more: Any) -> Any:
    if hasattr(pipeline, "unet"):
        return diffusers.ControlNetModel.from_unet(pipeline.unet)
    name = type(pipeline.transformer).__name__.replace("Transformer2DModel", "ControlNetModel")
    config = dict(pipeline.transformer.config)
    return getattr(diffusers, name).from_config({**config, **more})
