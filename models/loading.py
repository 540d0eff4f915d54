"""Load a diffusers pipeline as a spec says: safetensors only, no remote code, a pinned revision."""

from __future__ import annotations

import os
from typing import Any

import diffusers
import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from data.errors import RecipeError
from models.catalog import ModelSpec

# A worker has no terminal: what is loaded is told in one line when it is there.
diffusers_logging.disable_progress_bar()
transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()


def pick_device() -> torch.device:
    """The device of this worker process: its first visible GPU, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_name(device: torch.device) -> str:
    """What the manifest calls the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def load_pipeline(spec: ModelSpec, device: torch.device) -> Any:
    """The spec's pipeline, on the device. Raises RecipeError where its files cannot be loaded."""
    pipeline_class = getattr(diffusers, spec.pipeline)
    try:
        pipeline = pipeline_class.from_pretrained(
            spec.source,
            revision=spec.revision,
            cache_dir=spec.cache_dir,
            dtype=getattr(torch, spec.dtype),
            use_safetensors=True,
            token=os.environ.get("HF_TOKEN"),
        )
    except (OSError, ValueError) as error:
        raise RecipeError(f"the model {spec.name!r} cannot be loaded from {spec.source!r}: {error}") from error
    return prepare(pipeline.to(device))


def same_parts(pipeline: Any, spec: ModelSpec) -> Any:
    """The spec's pipeline around the loaded parts of another one; nothing is read or copied."""
    pipeline_class = getattr(diffusers, spec.pipeline)
    return pipeline if type(pipeline) is pipeline_class else prepare(pipeline_class(**pipeline.components))


def prepare(pipeline: Any) -> Any:
    """Silence the bar that every call would draw."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
