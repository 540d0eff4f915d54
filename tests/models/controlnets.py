"""ControlNets, made in the tests: random, and strong enough to be seen."""

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
        made = _of(pipeline, **more)
        # It starts with zeros where it adds to the model, so that training begins with the model's own images.
        for weights in made.parameters():
            if not weights.any():
                torch.nn.init.normal_(weights, std=0.5)
    made.save_pretrained(folder, safe_serialization=True)
    return folder


def _of(pipeline: Any, **more: Any) -> Any:
    if hasattr(pipeline, "unet"):
        return diffusers.ControlNetModel.from_unet(pipeline.unet)
    name = type(pipeline.transformer).__name__.replace("Transformer2DModel", "ControlNetModel")
    config = dict(pipeline.transformer.config)
    return getattr(diffusers, name).from_config({**config, **more})
