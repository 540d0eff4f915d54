"""Reader of one part's tensors from a file, with weights of eight bits made wide."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown, shown_path

_SCALES = (".scale_weight", ".weight_scale")
"""Ends of the names of the scales that a layer's weight of eight bits is multiplied with, in files made for ComfyUI."""

_BESIDE = (*_SCALES, ".scale_input", ".input_scale", ".comfy_quant")
_MARK = "scaled_fp8"
_FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


def read_tensors(path: Path, prefix: str, dtype: torch.dtype, others: Iterable[str] = ()) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with ``prefix``, without it. Weights of eight bits come in ``dtype``, scaled.

    ``others``: prefixes of the file's other parts, where ``prefix`` is empty. Raises RecipeError where weights are
    packed in another way.
    """
    foreign = () if prefix else tuple(filter(None, others))
    tensors: dict[str, torch.Tensor] = {}
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            if name.startswith(prefix) and not name.startswith(foreign):
                tensors[name.removeprefix(prefix)] = file.get_tensor(name)
    return widened(path, tensors, dtype)


def widened(path: Path, tensors: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The tensors without weights of eight bits: these are cast to ``dtype`` and multiplied with their scales."""
    wide = {}
    for name, tensor in tensors.items():
        if name.endswith(_BESIDE) or name.split(".")[-1] == _MARK:
            continue
        layer = name.removesuffix(".weight")
        scale = next((tensors[layer + end] for end in _SCALES if layer + end in tensors), None)
        if tensor.dtype in _FLOAT8:
            # The product first: both are exact in float32.
            product = tensor.float() if scale is None else tensor.float() * scale.float()
            wide[name] = product.to(dtype)
        elif name.endswith(".weight") and f"{layer}.comfy_quant" in tensors:
            raise RecipeError(
                f"the weights in {shown_path(path)} are packed in a way that imagemill does not load (first "
                f"{shown(name)}, {str(tensor.dtype).removeprefix('torch.')}). Take the file in bf16, fp16 or fp8."
            )
        else:
            wide[name] = tensor
    return wide
