"""Parts whose files are quantized already, on a worker: checks before they are loaded, and what may be done with them.

Their weights are of classes of their package, which cannot be quantized again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.quantized_files import PACKAGES, check_quantized, quantization_of
from imagemill.models.loading.memory.part_sizes import PartSize


def check_own_parts(model: str, folder: Path, parts: Mapping[str, PartSize], device: torch.device) -> None:
    """Raises RecipeError where this worker cannot load a quantized part of a model's folder."""
    for name, size in parts.items():
        check_part(model, name, size.library, quantization_of(folder / name), device)


def check_part(model: str, name: str, library: str, method: str | None, device: torch.device) -> None:
    """Raises RecipeError where this worker cannot load a part. ``method``: the quantization of its files, if any."""
    if method is None:
        return
    subject = f"the model {shown(model)} cannot be loaded on this worker"
    check_quantized(subject, {name: method})
    # On a CPU transformers loads both and computes with 8 bits alone; diffusers loads neither.
    on_cpu = method == "bitsandbytes_8bit" and library == "transformers"
    if method.startswith("bitsandbytes") and device.type == "cpu" and not on_cpu:
        raise RecipeError(
            f"{subject}: its {name} is quantized with {method}, which needs a GPU. Take a worker that has one, or "
            "weights that are plain or quantized with torchao."
        )


def is_quantized(part: torch.nn.Module) -> bool:
    """Test whether a loaded part's weights are of the classes of one of these packages."""
    # Of a class whose values are equal to texts, and hashed in another way.
    method = getattr(part, "quantization_method", None)
    return getattr(part, "is_quantized", False) and any(method == name for name in PACKAGES)
