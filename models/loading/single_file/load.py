"""Loader of a pipeline's parts from a single file: denoiser and autoencoder through diffusers' from_single_file."""

from __future__ import annotations

import inspect
from collections.abc import Container, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from imagemill.models.catalog.single_file.checkpoint import read_checkpoint
from imagemill.models.catalog.single_file.contents import Checkpoint, FilePart
from imagemill.models.catalog.single_file.folder import config_folder
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading.memory.offload import part_quantization, quantized_parts
from imagemill.models.loading.memory.part_sizes import checkpoint_sizes
from imagemill.models.loading.single_file.tensors import read_tensors
from imagemill.models.loading.single_file.weights import load_tensors


def checkpoint_components(spec: ModelSpec, given: Container[str], device: torch.device) -> dict[str, Any]:
    """All components of a spec's single file but those that are ``given``, and the pipeline's settings.

    Raises RecipeError where the file lacks a tensor.
    """
    checkpoint = read_checkpoint("model", Path(spec.source.location))
    folder = config_folder(checkpoint)
    small = quantized_parts(spec, checkpoint_sizes(checkpoint))
    components: dict[str, Any] = {}
    for name, part in checkpoint.parts.items():
        if name not in given:
            quantization = part_quantization(spec, part.library, device) if name in small else None
            components[name] = load_part(checkpoint, part, getattr(torch, spec.dtype), quantization)
    for name in checkpoint.tokenizers:
        kind = "CLIPTokenizer" if checkpoint.tokenizers[name].startswith("clip") else "T5TokenizerFast"
        components[name] = getattr(import_module("transformers"), kind).from_pretrained(folder / name)
    scheduler = getattr(import_module("diffusers"), checkpoint.scheduler["_class_name"])
    return {**components, "scheduler": scheduler.from_pretrained(folder, subfolder="scheduler")}


def build_pipeline(kind: Any, components: Mapping[str, Any]) -> Any:
    """A pipeline of a class around these components; one that it can do without is left out."""
    takes = inspect.signature(kind.__init__).parameters
    known = {name: part for name, part in components.items() if name in takes}
    # The others of a checkpoint's parts were asked for when the model was resolved.
    missing = {
        name: None
        for name, parameter in takes.items()
        if name not in ("self", *known) and parameter.default is inspect.Parameter.empty
    }
    settings = {"requires_safety_checker": False} if "requires_safety_checker" in takes else {}
    return kind(**known, **missing, **settings)


def load_part(
    checkpoint: Checkpoint, part: FilePart, dtype: torch.dtype, quantization: Any | None = None
) -> torch.nn.Module:
    """One part with its weights, in ``dtype``, in host memory.

    Raises RecipeError where the file lacks one of its tensors.
    """
    prefixes = [other.prefix for other in checkpoint.parts.values()]
    tensors = read_tensors(checkpoint.path, part.prefix, dtype, prefixes)
    return load_tensors(checkpoint.path, part, tensors, dtype, quantization)
