"""Loader of diffusers pipelines: safetensors only, no remote code, a pinned revision."""

from __future__ import annotations

import inspect
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from imagemill.data.errors import RecipeError, one_line
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.external_parts import ExternalPart
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.library_messages import collect_new
from imagemill.models.loading.adapters import check_fit, hub_arguments, load_controlnet, load_ip_adapter
from imagemill.models.loading.fixed_texts import fix_text_lengths
from imagemill.models.loading.lora import load_loras
from imagemill.models.loading.offload import apply_offload, quantization
from imagemill.models.loading.shared_parts import part_folders
from imagemill.models.loading.weights_report import complete_weights


def pick_device() -> torch.device:
    """The device of this worker process: its first visible GPU, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_name(device: torch.device) -> str:
    """The device's name in the manifest."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def local_folder(spec: ModelSpec) -> Path | None:
    """Folder of the model's files; a repository's are downloaded. None for a stand-in, which has none."""
    if os.environ.get("IMAGEMILL_PIPELINE"):
        return None
    if spec.source.files:
        return Path(spec.source.location)
    with _explain(spec):
        return Path(
            diffusers_class(spec.pipeline).download(
                spec.source.location, use_safetensors=True, **hub_arguments(spec.source, spec.cache_dir)
            )
        )


def load_pipeline(
    spec: ModelSpec,
    device: torch.device,
    shared: Mapping[str, torch.nn.Module],
    report: Callable[[dict[str, Any]], None] = lambda event: None,
) -> Any:
    """Load the spec's pipeline onto the device, with the parts in ``shared`` in place of its own.

    ``report`` gets an event if the files have more than the model uses. Raises RecipeError where they cannot be loaded.

    For tests and benchmarks: IMAGEMILL_PIPELINE in a worker's environment names a ``module:function`` that is called
    with the spec and the device in place of diffusers.
    """
    if stand_in := os.environ.get("IMAGEMILL_PIPELINE"):
        return pkgutil.resolve_name(stand_in)(spec, device)
    dtype = getattr(torch, spec.dtype)
    names = {path.name for path in part_folders(local_folder(spec))}
    with _explain(spec), complete_weights(spec.name, spec.source.location) as weights:
        kind = diffusers_class(spec.pipeline)
        # It paints images black, which would then be set aside as blank, for a reason that no message gives.
        without = {"safety_checker": None} if "safety_checker" in inspect.signature(kind.__init__).parameters else {}
        pipeline = kind.from_pretrained(
            spec.source.location,
            dtype=dtype,
            use_safetensors=True,
            **hub_arguments(spec.source, spec.cache_dir),
            **quantization(spec.memory, dtype, spec.name, names - shared.keys()),
            **without,
            **shared,
        )
    if weights.unused:
        first = one_line(weights.unused[0], 120)
        report({"kind": "unused_weights", "model": spec.name, "tensors": len(weights.unused), "first": first})
    check_fit(pipeline, spec)
    load_loras(pipeline, spec)
    load_ip_adapter(pipeline, spec)
    return fix_text_lengths(_silence(apply_offload(pipeline, spec.memory, device, spec.name)))


def extra_components(spec: ModelSpec) -> dict[str, Any]:
    """Load components that are not in the model's own repository into host memory: ControlNet and external parts.

    Raises RecipeError where their files cannot be loaded.
    """
    if os.environ.get("IMAGEMILL_PIPELINE"):
        return {}
    parts: dict[str, Any] = {}
    for part in spec.external_parts:
        with _explain(spec, part.source.location), complete_weights(spec.name, part.source.location):
            parts[part.name] = _load_external_part(spec, part)
    if spec.adapters.controlnet:
        location = spec.adapters.controlnet.source.location
        with _explain(spec, location), complete_weights(spec.name, location):
            parts["controlnet"] = load_controlnet(spec, diffusers_class(spec.adapters.controlnet.kind))
    return parts


def _load_external_part(spec: ModelSpec, part: ExternalPart) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    location, arguments = part.source.location, hub_arguments(part.source, spec.cache_dir)
    if part.name.startswith("tokenizer"):
        return AutoTokenizer.from_pretrained(location, **arguments)
    return AutoModelForCausalLM.from_pretrained(
        location, dtype=getattr(torch, spec.dtype), use_safetensors=True, **arguments
    )


@contextmanager
def _explain(spec: ModelSpec, source: str | None = None) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        why = " ".join(str(error).split())
        raise RecipeError(f"the model {shown(spec.name)} needs a package that is not installed: {why}") from error
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"the model {shown(spec.name)} cannot be loaded from {shown_path(source or spec.source.location)}: {error}"
        ) from error


def diffusers_class(name: str) -> Any:
    """A pipeline class of diffusers, by its name."""
    # Imported here: it takes seconds, and a stand-in needs none of it.
    import diffusers
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    # A worker has no terminal: one event reports a loaded model.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    collect_new()
    return getattr(diffusers, name)


def pipeline_from_parts(pipeline: Any, spec: ModelSpec) -> Any:
    """The spec's pipeline around the loaded parts of another class's; nothing is read or copied."""
    if os.environ.get("IMAGEMILL_PIPELINE"):
        # A stand-in serves for every class.
        return pipeline
    kind = diffusers_class(spec.pipeline)
    # Beside parts a pipeline has settings, such as FLUX.2's is_distilled.
    arguments = {**pipeline.config, **pipeline.components}
    takes = inspect.signature(kind.__init__).parameters
    return fix_text_lengths(_silence(kind(**{name: value for name, value in arguments.items() if name in takes})))


def _silence(pipeline: Any) -> Any:
    """Switch off the progress bar of every call."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
