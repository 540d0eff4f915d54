"""Models that judge images, made from configs with random weights: a CLIP, a SigLIP, a DINOv2, a classifier, a head."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tests.models.tiny.parts import PAD, VOCABULARY, WIDTH, tokenizer

SIZE = 32
"""Pixels of a side that these models see."""

TEXT_LENGTH = 24
"""Tokens of a text: one a character, and the end."""

LABELS = ["normal", "nsfw", "other"]

_VISION = {
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": SIZE,
    "patch_size": 8,
}
_TEXT = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": TEXT_LENGTH,
    "bos_token_id": None,
    "eos_token_id": len(VOCABULARY) - 1,
    "pad_token_id": VOCABULARY.index(PAD),
    "projection_size": WIDTH,
}


def clip(folder: Path) -> None:
    config = transformers.CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=16)
    _save(folder, transformers.CLIPModel(config), tokenizer(TEXT_LENGTH))


def siglip(folder: Path) -> None:
    config = transformers.SiglipConfig(text_config=_TEXT, vision_config=_VISION)
    processor = SiglipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    _save(folder, transformers.SiglipModel(config), tokenizer(TEXT_LENGTH), processor)


def dinov2(folder: Path) -> None:
    _save(folder, transformers.Dinov2Model(transformers.Dinov2Config(**_VISION)))


def classifier(folder: Path) -> None:
    labels = dict(enumerate(LABELS))
    config = transformers.ViTConfig(
        **_VISION, id2label=labels, label2id={name: number for number, name in labels.items()}
    )
    _save(folder, transformers.ViTForImageClassification(config))


def _save(folder: Path, model: Any, texts: Any = None, processor: Any = None) -> None:
    # Random weights as they come are nearly symmetric: scores of all images would be the same.
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.5 if "embed" in name else 0.2)
    model.save_pretrained(folder, safe_serialization=True)
    crop = {"height": SIZE, "width": SIZE}
    (processor or CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size=crop)).save_pretrained(folder)
    if texts is not None:
        texts.save_pretrained(folder)


def head(folder: Path, widths: tuple[int, ...] = (16, 8, 1), **metadata: str) -> Path:
    """A head for the CLIP's embeddings, named as the published ones are; returns its file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        tensors = {}
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            tensors[f"layers.{2 * number}.weight"] = torch.randn(outputs, inputs)
            tensors[f"layers.{2 * number}.bias"] = torch.randn(outputs)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt", **metadata})
    return folder / "model.safetensors"


MAKERS: dict[str, Callable[[Path], None]] = {
    "clip": clip,
    "siglip": siglip,
    "dinov2": dinov2,
    "classifier": classifier,
}
"""Name -> function that saves that model into a folder."""


def save_scorer(name: str, folder: Path) -> Path:
    """Save a model, the same at every call, and return its folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MAKERS[name](folder / name)
    return folder / name
