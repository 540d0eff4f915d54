"""The files for trainers beside an export: their configuration, and train.md with the commands that start them.

Commands are as each trainer's own pages give them (read 2026-11-29); models and their paths are for the user to choose.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from shlex import quote

from imagemill.data.export.entry import Summary
from imagemill.data.export.trainers.ai_toolkit import ai_toolkit_yaml
from imagemill.data.export.trainers.groups import groups_of
from imagemill.data.export.trainers.kohya import kohya_toml
from imagemill.data.export.trainers.musubi import musubi_toml
from imagemill.data.export.trainers.simpletuner import multidatabackend_json

_CHANGED = (
    "An image that was generated again keeps its name. Trainers cache what they made of an image under that name: "
    "after an export that changes images, delete the trainer's cache.\n"
)


def pairs_files(summary: Summary) -> Mapping[str, str]:
    """Name -> content of kohya.toml, musubi.toml, ai-toolkit.yaml and train.md."""
    root = summary.choices.target
    toml, musubi, yaml = (quote(str(root / name)) for name in ("kohya.toml", "musubi.toml", "ai-toolkit.yaml"))
    is_edit = any(group.controls for group in groups_of(summary))
    script = "sdxl_train_control_net.py" if is_edit else "sdxl_train_network.py"
    network = "" if is_edit else " --network_module networks.lora --network_dim 16"
    kontext = "flux_kontext" if is_edit else "qwen_image"
    encoders = "--text_encoder1 T5 --text_encoder2 CLIP" if is_edit else "--text_encoder QWEN25VL"
    lora = "networks.lora_flux" if is_edit else "networks.lora_qwen_image"
    sections = [
        "# Training on this export",
        "Paths are absolute: after moving the folder, export again. " + _CHANGED,
        "## sd-scripts",
        _shell(
            f"accelerate launch {script} --pretrained_model_name_or_path SDXL_MODEL --dataset_config {toml} "
            f"--output_dir output --output_name lora{network} --learning_rate 1e-4 --max_train_epochs 10 "
            "--mixed_precision bf16 --gradient_checkpointing --cache_latents --sdpa"
        ),
        "## musubi-tuner",
        _shell(
            f"python src/musubi_tuner/{kontext}_cache_latents.py --dataset_config {musubi} --vae VAE",
            f"python src/musubi_tuner/{kontext}_cache_text_encoder_outputs.py --dataset_config {musubi} {encoders}",
            f"accelerate launch --mixed_precision bf16 src/musubi_tuner/{kontext}_train_network.py "
            f"--dataset_config {musubi} --dit DIT --vae VAE {encoders} --network_module {lora} --network_dim 32 "
            "--sdpa --mixed_precision bf16 --gradient_checkpointing --learning_rate 1e-4 --max_train_epochs 16 "
            "--output_dir output --output_name lora",
        ),
        "## ai-toolkit",
        _shell(f"python run.py {yaml}"),
    ]
    return {
        "kohya.toml": kohya_toml(summary),
        "musubi.toml": musubi_toml(summary),
        "ai-toolkit.yaml": ai_toolkit_yaml(summary),
        "train.md": "\n".join(sections),
    }


def diffsynth_files(summary: Summary) -> Mapping[str, str]:
    """Name -> content of train.md."""
    root = quote(str(summary.choices.target))
    metadata = quote(str(summary.choices.target / "metadata.jsonl"))
    is_edit = "edit_images" in summary.folders
    # What the scripts load by default is the training image alone.
    keys = '--data_file_keys "image,edit_image" --extra_inputs "edit_image" ' if is_edit else ""
    width, height = summary.size
    sections = [
        "# Training on this export",
        "Paths in metadata.jsonl are relative, so that the folder may be moved.\n",
        "## DiffSynth-Studio",
        "With the script of a model family, such as flux2 or qwen_image:\n",
        _shell(
            f"accelerate launch examples/flux2/model_training/train.py --dataset_base_path {root} "
            f"--dataset_metadata_path {metadata} {keys}--max_pixels {width * height} --dataset_repeat 1 "
            "--model_id_with_origin_paths MODELS --learning_rate 1e-4 --num_epochs 5 --lora_base_model dit "
            '--lora_target_modules "to_q,to_k,to_v,to_out.0" --lora_rank 32 --output_path output'
        ),
    ]
    return {"train.md": "\n".join(sections)}


def simpletuner_files(summary: Summary) -> Mapping[str, str]:
    """Name -> content of multidatabackend.json and train.md."""
    path = summary.choices.target / "multidatabackend.json"
    sections = [
        "# Training on this export",
        "Paths are absolute: after moving the folder, export again. " + _CHANGED,
        "## SimpleTuner",
        f'Your config.json names the model, and this file: `"data_backend_config": {json.dumps(str(path))}`\n',
        _shell("simpletuner train"),
    ]
    return {"multidatabackend.json": multidatabackend_json(summary), "train.md": "\n".join(sections)}


def onetrainer_files(summary: Summary) -> Mapping[str, str]:
    """Name -> content of concepts.json and train.md."""
    concept = {
        "name": summary.dataset,
        "path": str(summary.choices.target),
        "enabled": True,
        "include_subdirectories": False,
        "text": {"prompt_source": "sample"},
    }
    sections = [
        "# Training on this export",
        "Paths are absolute: after moving the folder, export again. " + _CHANGED,
        "## OneTrainer",
        "Name concepts.json as `concept_file_name` in your configuration; `custom_conditioning_image: true` for "
        "conditioning images, `masked_training: true` for masks.\n",
        _shell("python scripts/train.py --config-path CONFIG"),
    ]
    concepts = json.dumps([concept], indent=2, ensure_ascii=False) + "\n"
    return {"concepts.json": concepts, "train.md": "\n".join(sections)}


def dpo_files(summary: Summary) -> Mapping[str, str]:
    """Name -> content of train.md."""
    root = quote(str(summary.choices.target))
    sections = [
        "# Training on this export",
        "## diffusers: examples/research_projects/diffusion_dpo",
        _shell(
            f"accelerate launch train_diffusion_dpo.py --pretrained_model_name_or_path MODEL --dataset_name {root} "
            "--dataset_split_name train --resolution 512 --train_batch_size 4 --rank 8 --learning_rate 1e-5 "
            "--max_train_steps 2000 --output_dir output"
        ),
    ]
    return {"train.md": "\n".join(sections)}


def _shell(*commands: str) -> str:
    return "\n".join(["```bash", *commands, "```", ""])
