"""Weights of the denoiser stored in eight bits (`memory.quantization: float8_storage`), widened while a layer computes.

diffusers' layerwise casting, which needs no package and no GPU. Text encoders stay as they are: pipelines and T5 take
the dtype of their weights for that of their numbers.
"""

from __future__ import annotations

from typing import Any

import torch

from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading.memory.offload import DENOISERS

STORED = torch.float8_e4m3fn


def store_in_float8(pipeline: Any, spec: ModelSpec) -> None:
    """Store the weights of the pipeline's denoiser in eight bits, if the spec asks for it.

    Not those whose files are quantized, and none twice: parts are shared. Norms and embeddings stay wide, by diffusers'
    own rule.
    """
    if spec.memory.quantization != "float8_storage":
        return
    for name in DENOISERS:
        part = getattr(pipeline, name, None)
        if part is None or getattr(part, "is_quantized", False) or any(w.dtype == STORED for w in part.parameters()):
            continue
        part.enable_layerwise_casting(storage_dtype=STORED, compute_dtype=getattr(torch, spec.dtype))
