"""Loader of the parts that a recipe names in place of a model's own: from a folder, a repository or a single file."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from imagemill.data.errors import RecipeError, one_line
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.external_parts import GGUF, ExternalPart
from imagemill.models.catalog.single_file.alone import read_part
from imagemill.models.catalog.single_file.contents import FilePart
from imagemill.models.catalog.single_file.header import read_header
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.catalog.weight_files import part_variant, read_index
from imagemill.models.loading.adapters import hub_arguments
from imagemill.models.loading.memory.offload import DENOISERS, NAMED, part_quantization
from imagemill.models.loading.single_file.tensors import read_tensors
from imagemill.models.loading.single_file.weights import load_tensors


def given_names(spec: ModelSpec) -> frozenset[str]:
    """Names of the parts that are loaded in place of the model's own."""
    return frozenset(part.name for part in spec.external_parts if part.is_given)


def load_given_part(spec: ModelSpec, part: ExternalPart, folder: Path, device: torch.device) -> torch.nn.Module:
    """One part, in host memory. ``folder``: of the model's own configuration.

    Raises RecipeError where it does not fit the model, and the libraries' errors.
    """
    kinds = read_index(folder).get(part.name)
    if not isinstance(kinds, list) or len(kinds) != 2 or not kinds[0]:
        raise RecipeError(f"the model {shown(spec.name)} has no part {shown(part.name)}: leave it out of parts.")
    library, kind = kinds
    path = part.local()
    if part.file:
        path = part.source.file("parts", part.file, spec.cache_dir)
    if path is None or path.is_dir():
        return _from_folder(spec, part, library, kind, device)
    if path.suffix.lower() == GGUF:
        return _from_gguf(spec, part, path, kind, folder)
    return _from_file(spec, part, path, kind, folder, device)


def _from_folder(spec: ModelSpec, part: ExternalPart, library: str, kind: str, device: torch.device) -> torch.nn.Module:
    local = part.local()
    where = {"subfolder": part.subfolder} if part.subfolder else {}
    arguments = {**where, **hub_arguments(part.source, spec.cache_dir)}
    if library != "transformers":
        # Its own class: a tiny autoencoder, for instance, takes the place of another one.
        kind = getattr(import_module("diffusers"), kind).load_config(part.source.location, **arguments)["_class_name"]
    classes = import_module("transformers" if library == "transformers" else "diffusers")
    found = getattr(classes, str(kind), None)
    if found is None:
        raise RecipeError(f"{shown_path(part.source.location)} is a {shown(kind)}, which {library} does not have.")
    quantization = _quantization(spec, part.name, library, device)
    return found.from_pretrained(
        part.source.location,
        dtype=getattr(torch, spec.dtype),
        use_safetensors=True,
        variant=part_variant(local) if local else None,
        **({"quantization_config": quantization} if quantization else {}),
        **arguments,
    )


def _from_file(
    spec: ModelSpec, part: ExternalPart, path: Path, kind: str, folder: Path, device: torch.device
) -> torch.nn.Module:
    own = folder / part.name / "config.json"
    config = json.loads(own.read_bytes()) if own.is_file() else None
    family = str(read_index(folder).get("_class_name"))
    dtype = getattr(torch, spec.dtype)
    try:
        found = read_part(read_header("parts", path), part.name, kind, family, config)
        if found is None:
            raise RecipeError(_unfit(spec, part.name, path, "it does not show its configuration"))
        return _load(spec, part.name, path, found, dtype, device)
    except (LookupError, StopIteration, AttributeError, TypeError, ValueError) as error:
        # What diffusers' converters raise for tensors of another model.
        raise RecipeError(_unfit(spec, part.name, path, one_line(error, 120) or type(error).__name__)) from error


def _load(
    spec: ModelSpec, name: str, path: Path, found: FilePart, dtype: torch.dtype, device: torch.device
) -> torch.nn.Module:
    tensors = read_tensors(path, found.prefix, dtype)
    return load_tensors(path, found, tensors, dtype, _quantization(spec, name, found.library, device))


def _from_gguf(spec: ModelSpec, part: ExternalPart, path: Path, kind: str, folder: Path) -> torch.nn.Module:
    if find_spec("gguf") is None:
        raise RecipeError(
            f"{shown_path(path)} is GGUF, and the package 'gguf' is not installed on this worker: "
            "pip install 'imagemill[gguf]'."
        )
    diffusers = import_module("diffusers")
    found = getattr(diffusers, kind, None)
    if not hasattr(found, "from_single_file"):
        raise RecipeError(_unfit(spec, part.name, path, "diffusers reads transformers and UNets alone from GGUF"))
    own = folder / part.name / "config.json"
    if not own.is_file():
        raise RecipeError(_unfit(spec, part.name, path, "the model has no configuration to read it by"))
    config, dtype = json.loads(own.read_bytes()), getattr(torch, spec.dtype)
    tensors = import_module("diffusers.models.model_loading_utils").load_gguf_checkpoint(str(path))
    if kind == "FluxTransformer2DModel":
        # Whether guidance is an input is the one thing in which FLUX.1's differ.
        config = {**config, "guidance_embeds": any("guidance_in." in name for name in tensors)}
    quantization = diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
    try:
        return load_tensors(
            path, FilePart("", "original", {**config, "_class_name": kind}), tensors, dtype, quantization
        )
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise RecipeError(_unfit(spec, part.name, path, one_line(error, 120) or type(error).__name__)) from error


def _quantization(spec: ModelSpec, name: str, library: str, device: torch.device) -> Any | None:
    is_small = name in DENOISERS or (name in NAMED if spec.quantized == "named" else name != "vae")
    if spec.memory.quantization == "none" or not is_small:
        return None
    return part_quantization(spec, library, device)


def _unfit(spec: ModelSpec, name: str, path: Path, why: str) -> str:
    return (
        f"{shown_path(path)} does not fit the model {shown(spec.name)} as its {name} ({why}). Take one of this model, "
        f"or leave {name} out of parts."
    )
