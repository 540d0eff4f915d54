"""Loader of diffusers pipelines: safetensors only, no remote code, a pinned revision."""

from __future__ import annotations

import inspect
import os
import pkgutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from imagemill.data.errors import one_line
from imagemill.models.catalog.external_parts import ExternalPart
from imagemill.models.catalog.single_file.checkpoint import read_checkpoint
from imagemill.models.catalog.single_file.folder import config_folder
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.catalog.weight_files import VARIANTS, variant_of
from imagemill.models.library_messages import collect_new
from imagemill.models.loading.adapters import check_fit, hub_arguments, load_controlnet, load_ip_adapter
from imagemill.models.loading.fixed_texts import fix_text_lengths
from imagemill.models.loading.given_parts import load_given_part
from imagemill.models.loading.load_errors import load_errors
from imagemill.models.loading.lora import load_loras
from imagemill.models.loading.memory.model_offload import share_offload
from imagemill.models.loading.memory.offload import apply_offload, part_quantization, quantization, stays_on_device
from imagemill.models.loading.memory.part_sizes import part_sizes
from imagemill.models.loading.single_file.load import build_pipeline, checkpoint_components
from imagemill.models.loading.weights_report import complete_weights


def pick_device() -> torch.device:
    """The device of this worker process: its first visible GPU, Apple's, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_name(device: torch.device) -> str:
    """The device's name in the manifest."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def local_folder(spec: ModelSpec) -> Path | None:
    """Folder of the model's files, or of a single file's configuration; a repository's are downloaded.

    None for a stand-in, which has none.
    """
    if os.environ.get("IMAGEMILL_PIPELINE"):
        return None
    if spec.source.is_checkpoint:
        with load_errors(spec):
            return config_folder(read_checkpoint("model", Path(spec.source.location)))
    if spec.source.files:
        return Path(spec.source.location)
    with load_errors(spec):
        return _download(spec)


def _download(spec: ModelSpec) -> Path:
    """Download a repository; one that has only a variant of some part's weights, in that variant."""
    kind, arguments = diffusers_class(spec.pipeline), hub_arguments(spec.source, spec.cache_dir)
    download = partial(kind.download, spec.source.location, use_safetensors=True, **arguments)
    try:
        return Path(download())
    except OSError as error:
        if "necessary `safetensors` weights" not in str(error):
            raise
        for variant in VARIANTS:
            with suppress(OSError):
                return Path(download(variant=variant))
        raise


def load_pipeline(
    spec: ModelSpec,
    device: torch.device,
    shared: Mapping[str, torch.nn.Module],
    report: Callable[[dict[str, Any]], None] = lambda event: None,
) -> Any:
    """Load the spec's pipeline onto the device, with the parts in ``shared`` in place of the model's.

    ``report`` gets an event if the files have more than the model uses, and one for each LoRA. Raises RecipeError where
    they cannot be loaded.

    For tests and benchmarks: IMAGEMILL_PIPELINE in a worker's environment names a ``module:function`` that is called
    with the spec and the device in place of diffusers.
    """
    if stand_in := os.environ.get("IMAGEMILL_PIPELINE"):
        return pkgutil.resolve_name(stand_in)(spec, device)
    folder = local_folder(spec)
    with load_errors(spec), complete_weights(spec.name, spec.source.location) as weights:
        pipeline = _load(spec, folder, device, shared)
    if weights.unused:
        first = one_line(weights.unused[0], 120)
        report({"kind": "unused_weights", "model": spec.name, "tensors": len(weights.unused), "first": first})
    with load_errors(spec):
        check_fit(pipeline, spec)
        for fit in load_loras(pipeline, spec):
            report({"kind": "lora", "model": spec.name, **fit.as_event()})
        load_ip_adapter(pipeline, spec)
        return fix_text_lengths(_silence(apply_offload(pipeline, spec.memory, device, spec.name)))


def _load(spec: ModelSpec, folder: Path, device: torch.device, given: Mapping[str, Any]) -> Any:
    kind = diffusers_class(spec.pipeline)
    if spec.source.is_checkpoint:
        return build_pipeline(kind, {**checkpoint_components(spec, given, device), **given})
    sizes = {name: size for name, size in part_sizes(folder).items() if name not in given}
    # It paints images black, which would then be set aside as blank, for a reason that no message gives.
    without = {"safety_checker": None} if "safety_checker" in inspect.signature(kind.__init__).parameters else {}
    return kind.from_pretrained(
        # A folder, also for a repository: the hub was asked for it already.
        folder,
        dtype=getattr(torch, spec.dtype),
        variant=variant_of(folder),
        use_safetensors=True,
        # Tensor by tensor from the files to the device: the host never holds the whole model.
        device_map=device.type if stays_on_device(spec.memory, device) else None,
        **quantization(spec, sizes, device),
        **without,
        **given,
    )


def extra_components(spec: ModelSpec, device: torch.device, folder: Path | None = None) -> dict[str, Any]:
    """Load components that are not in the model's own repository into host memory: ControlNet and external parts.

    ``folder``: of the model's configuration, for parts that replace the model's.
    Raises RecipeError where their files cannot be loaded.
    """
    if os.environ.get("IMAGEMILL_PIPELINE"):
        return {}
    parts: dict[str, Any] = {}
    for part in spec.external_parts:
        with load_errors(spec, part.source.location), complete_weights(spec.name, part.source.location):
            load = partial(load_given_part, folder=folder) if part.is_given else _load_external_part
            parts[part.name] = load(spec, part, device=device)
    if spec.adapters.controlnet:
        location = spec.adapters.controlnet.source.location
        with load_errors(spec, location), complete_weights(spec.name, location):
            parts["controlnet"] = load_controlnet(spec, diffusers_class(spec.adapters.controlnet.kind))
    return parts


def _load_external_part(spec: ModelSpec, part: ExternalPart, device: torch.device) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    location, arguments = part.source.location, hub_arguments(part.source, spec.cache_dir)
    if part.name.startswith("tokenizer"):
        return AutoTokenizer.from_pretrained(location, **arguments)
    if spec.memory.quantization != "none":
        arguments["quantization_config"] = part_quantization(spec, "transformers", device)
    return AutoModelForCausalLM.from_pretrained(
        location, dtype=getattr(torch, spec.dtype), use_safetensors=True, **arguments
    )


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
    found = kind(**{name: value for name, value in arguments.items() if name in takes})
    share_offload(pipeline, found)
    return fix_text_lengths(_silence(found))


def _silence(pipeline: Any) -> Any:
    """Switch off the progress bar of every call."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
