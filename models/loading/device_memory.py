"""Free memory of device and host, and moves of a pipeline's parts between them."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from itertools import chain
from typing import Any

import psutil
import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from imagemill.models.loading.memory.pinned import to_host

ACTIVATIONS_SHARE = 0.1
"""Share of a device's memory that is reserved for activations."""

HOST_SHARE = 0.1
"""Share of the host's memory that is never filled with offloaded models."""


LIMIT = "IMAGEMILL_DEVICE_GIB"
"""In a worker's environment: the most GiB of weights on its device."""


def is_limited() -> bool:
    """True if this worker has a limit of weights on its device."""
    return bool(os.environ.get(LIMIT))


def free_bytes(device: torch.device, allocated: int) -> int:
    """Bytes of weights that still fit on the device, beside the ``allocated`` bytes on it."""
    if is_limited():
        return int(float(os.environ[LIMIT]) * 2**30) - allocated
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # Memory that torch has reserved and does not use is free for it.
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + reserved - ACTIVATIONS_SHARE * total)
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return int(total - torch.mps.driver_allocated_memory() - ACTIVATIONS_SHARE * total)
    return free_host_bytes()


def free_host_bytes() -> int:
    """Bytes of weights that still fit into the host's memory."""
    memory = psutil.virtual_memory()
    return int(memory.available - HOST_SHARE * memory.total)


def weights_of(pipeline: Any) -> dict[str, torch.nn.Module]:
    """The pipeline's parts that have weights."""
    return {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}


def bytes_of(parts: Iterable[torch.nn.Module]) -> int:
    """Size of the parts' weights and buffers in memory."""
    return sum(_bytes(tensor) for part in parts for tensor in chain(part.parameters(), part.buffers()))


def _bytes(tensor: torch.Tensor) -> int:
    # A quantized weight of torchao looks like one of its old type, and holds tensors.
    if is_traceable_wrapper_subclass(tensor):
        names, _ = tensor.__tensor_flatten__()
        return sum(_bytes(getattr(tensor, name)) for name in names)
    return tensor.numel() * tensor.element_size()


def move(parts: Iterable[torch.nn.Module], device: torch.device) -> None:
    """Move the parts that are not there yet; from a GPU to the host, into pinned memory."""
    for part in parts:
        if device.type == "cpu" and any(weight.is_cuda for weight in part.parameters()):
            to_host(part)
        else:
            part.to(device)


def free_memory() -> None:
    """Return unused memory to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
