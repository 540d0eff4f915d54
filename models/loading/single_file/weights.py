"""Loader of one part from a file's tensors: through diffusers' from_single_file, or transformers' from_pretrained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.single_file.contents import FilePart
from imagemill.models.loading.single_file.convert import clip_tensors, flux_tensors, open_clip_tensors

_UNET = "model.diffusion_model."
"""The prefix by which diffusers knows a UNet's tensors."""


def load_tensors(
    path: Path, part: FilePart, tensors: dict[str, torch.Tensor], dtype: torch.dtype, quantization: Any | None = None
) -> torch.nn.Module:
    """A part with these tensors, which have no prefix, in ``dtype``, in host memory. ``path``: of their file.

    Raises RecipeError where one of its tensors is missing, and diffusers' errors.
    """
    more = {} if quantization is None else {"quantization_config": quantization}
    if part.library == "transformers":
        return _load_encoder(part, tensors, dtype, more)
    kind = getattr(import_module("diffusers"), part.kind)
    if not hasattr(kind, "from_single_file"):
        raise RecipeError(
            f"{shown_path(path)} is to be a {part.kind}, which diffusers loads from no single file: name a folder."
        )
    is_original = part.scheme == "original"
    if is_original and part.kind == "FluxTransformer2DModel":
        tensors = flux_tensors(tensors)
    elif is_original and part.kind == "UNet2DConditionModel":
        tensors = {_UNET + key: tensor for key, tensor in tensors.items()}
    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(dict(part.config)))
        found = kind.from_single_file(tensors, config=folder, torch_dtype=dtype, local_files_only=True, **more)
    check_complete(found, path)
    return found


def _load_encoder(
    part: FilePart, tensors: dict[str, torch.Tensor], dtype: torch.dtype, more: Mapping[str, Any]
) -> torch.nn.Module:
    kind = getattr(import_module("transformers"), part.kind)
    if part.scheme == "clip":
        tensors = clip_tensors(tensors, part.config)
    elif part.scheme == "open_clip":
        tensors = open_clip_tensors(tensors, part.config)
    config = kind.config_class(**{key: value for key, value in part.config.items() if key != "model_type"})
    return kind.from_pretrained(None, config=config, state_dict=tensors, dtype=dtype, **more)


def check_complete(part: torch.nn.Module, path: Path) -> None:
    """Raises RecipeError where a part has a tensor that its file does not: diffusers leaves it without values."""
    empty = next((key for key, tensor in part.state_dict().items() if tensor.is_meta), None)
    if empty:
        raise RecipeError(
            f"{shown_path(path)} lacks a tensor of the {type(part).__name__} that its other tensors are of "
            f"({shown(empty)}). Download the file again, or name another one."
        )
