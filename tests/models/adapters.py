"""Random LoRAs, strong enough to change an image visibly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict


def save_lora(model: Path, file: Path, seed: int = 0, part: str = "transformer", **more: Any) -> Path:
    """Save a random LoRA for a part of a model's pipeline, as a training script of diffusers does."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(model)
    module = getattr(pipeline, part)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        targets = ["q_proj", "v_proj"] if part.startswith("text_encoder") else ["to_q", "to_k", "to_v"]
        module.add_adapter(LoraConfig(r=4, target_modules=targets, init_lora_weights=False, **more))
    layers = get_peft_model_state_dict(module)
    type(pipeline).save_lora_weights(file.parent, weight_name=file.name, **{f"{part}_lora_layers": layers})
    return file
