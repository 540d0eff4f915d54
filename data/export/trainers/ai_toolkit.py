"""Configuration of ai-toolkit (https://github.com/ostris/ai-toolkit, config/examples): a LoRA of FLUX.1."""

from __future__ import annotations

import json

from imagemill.data.export.entry import Summary
from imagemill.data.export.names import plain_name
from imagemill.data.export.trainers.groups import Group, groups_of

MAX_CONTROLS = 3
"""Folders of controls that ai-toolkit takes."""


def ai_toolkit_yaml(summary: Summary) -> str:
    """ai-toolkit.yaml: a job with a dataset for each folder of training images; the model is for you to choose."""
    groups = groups_of(summary)
    is_edit = any(group.controls for group in groups)
    model, arch = ("FLUX.1-Kontext-dev", "flux_kontext") if is_edit else ("FLUX.1-dev", "flux")
    lines = [
        "job: extension",
        "config:",
        f"  name: {json.dumps(plain_name(summary.dataset))}",
        "  process:",
        "    - type: sd_trainer",
        "      training_folder: output",
        "      device: cuda:0",
        "      network: {type: lora, linear: 16, linear_alpha: 16}",
        "      save: {dtype: bf16, save_every: 250, max_step_saves_to_keep: 4}",
        "      datasets:",
        *(line for group in groups for line in _dataset(group, max(summary.size))),
        "      train: {batch_size: 1, steps: 2000, gradient_checkpointing: true, noise_scheduler: flowmatch,",
        "        optimizer: adamw8bit, lr: 1.0e-4, dtype: bf16, train_unet: true, train_text_encoder: false,",
        "        disable_sampling: true}",
        "      model:",
        f'        name_or_path: "black-forest-labs/{model}"',
        f"        arch: {arch}",
        "        quantize: true",
        'meta: {name: "[name]", version: "1.0"}',
    ]
    return "\n".join(lines) + "\n"


def _dataset(group: Group, resolution: int) -> list[str]:
    lines = [f"        - folder_path: {json.dumps(str(group.target))}"]
    if group.controls:
        lines.append("          control_path:")
        lines += [f"            - {json.dumps(str(control))}" for control in group.controls[:MAX_CONTROLS]]
    if group.mask:
        lines.append(f"          # weighs the loss: mask_path: {json.dumps(str(group.mask))}")
    return [*lines, "          caption_ext: txt", f"          resolution: [{resolution}]"]
