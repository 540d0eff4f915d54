"""Loader of LoRAs: diffusers' own, with checks that each one fits."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from imagemill.data.errors import RecipeError
from imagemill.data.images.provenance.details import LoraDetails
from imagemill.data.messages import shown
from imagemill.models.catalog.adapters.lora import LoraFile
from imagemill.models.catalog.adapters.lora_kinds import TAKE_A_LORA, why_unloadable
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading.lora_fit import LoraFit, lora_fit
from imagemill.models.loading.lora_names import readable

_DENOISERS = frozenset({"transformer", "transformer_2", "unet"})
_ENCODERS = frozenset({"text_encoder", "text_encoder_2", "text_encoder_3"})
_NAMES_AN_ENCODER = ("text_encoder", "lora_te")
"""In the names of a text encoder's tensors, as diffusers and other training scripts write them."""


def changed_parts(spec: ModelSpec) -> frozenset[str]:
    """Names of the parts that the spec's LoRAs change."""
    loras = spec.adapters.loras
    changed = _DENOISERS if loras else frozenset()
    for lora in loras:
        with safe_open(_path(lora, spec.cache_dir), framework="pt") as file:
            if any(name.startswith(_NAMES_AN_ENCODER) for name in file.keys()):  # noqa: SIM118 - not a mapping
                changed = changed | _ENCODERS
    return changed


def load_loras(pipeline: Any, spec: ModelSpec) -> list[LoraFit]:
    """Load the spec's LoRAs into a pipeline, and count how much of each it uses.

    Raises RecipeError where one does not fit.
    """
    loras = spec.adapters.loras
    if not loras:
        return []
    if not hasattr(pipeline, "load_lora_weights"):
        raise RecipeError(
            f"the model {shown(spec.name)} takes no LoRA: diffusers has no loader for a {type(pipeline).__name__}. "
            "Leave lora out."
        )
    names, fits = [f"lora_{number}" for number in range(len(loras))], []
    for name, lora in zip(names, loras, strict=True):
        tensors = load_file(_path(lora, spec.cache_dir))
        if why := why_unloadable(tensors, spec.pipeline):
            raise RecipeError(f"the LoRA {shown(lora.name)} {why}: {TAKE_A_LORA}")
        dtype = getattr(torch, spec.dtype)
        # A scale (alpha) is a single number and stays exact.
        tensors = {key: value.to(dtype) if value.ndim else value for key, value in tensors.items()}
        try:
            pipeline.load_lora_weights(readable(tensors, pipeline.components.get("transformer")), adapter_name=name)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise RecipeError(_unfit(lora, spec, f" ({_first_line(error)})")) from error
        if not any(name in adapters for adapters in pipeline.get_list_adapters().values()):
            raise RecipeError(_unfit(lora, spec, ": it names none of the model's layers"))
        fits.append(lora_fit(pipeline, name, Path(lora.name).name, tensors))
    pipeline.set_adapters(names, adapter_weights=[lora.weight for lora in loras])
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            # peft leaves its new layers in training mode, in which dropout, and any LoKr, takes unseeded numbers.
            part.eval()
    return fits


def lora_details(spec: ModelSpec) -> tuple[LoraDetails, ...]:
    """The spec's LoRAs, for the metadata of images. Reads their files, once a process."""
    found = []
    for lora in spec.adapters.loras:
        path = _path(lora, spec.cache_dir)
        found.append(LoraDetails(path.stem, _hash_tensors(path), lora.weight))
    return tuple(found)


@cache
def _hash_tensors(path: Path) -> str:
    """sha256 over a safetensors file without its header: eight bytes of a length, and as many of JSON."""
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _path(lora: LoraFile, cache_dir: str | None) -> Path:
    return lora.source.file("lora", lora.file or "", cache_dir)


def _unfit(lora: LoraFile, spec: ModelSpec, why: str) -> str:
    return (
        f"the LoRA {shown(lora.name)} does not fit the model {shown(spec.name)}{why}. Take one that was trained for "
        "this model, "
        "or leave it out of lora."
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
