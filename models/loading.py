"""Load a diffusers pipeline as a spec says: safetensors only, no remote code, a pinned revision."""

from __future__ import annotations

import os
import pkgutil
from typing import Any

import torch

from data.errors import RecipeError
from models.catalog import ModelSpec


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
    """The spec's pipeline, on the device. Raises RecipeError where its files cannot be loaded.

    For tests and benchmarks: IMAGEMILL_PIPELINE in a worker's environment names a ``module:function`` that is called
    with the spec and the device in place of diffusers.
    """
    if stand_in := os.environ.get("IMAGEMILL_PIPELINE"):
        return pkgutil.resolve_name(stand_in)(spec, device)
    pipeline_class = _diffusers_class(spec.pipeline)
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


def _diffusers_class(name: str) -> Any:
    # Imported here: it takes seconds, and a stand-in does without.
    import diffusers
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    # A worker has no terminal: what is loaded is told in one line when it is there.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    return getattr(diffusers, name)


def same_parts(pipeline: Any, spec: ModelSpec) -> Any:
    """The spec's pipeline around the loaded parts of one of another class; nothing is read or copied."""
    return prepare(_diffusers_class(spec.pipeline)(**pipeline.components))


def prepare(pipeline: Any) -> Any:
    """Silence the bar that every call would draw."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
