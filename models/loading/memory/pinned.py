"""Weights in the host's pinned memory, which a GPU reads and writes at the full rate of its bus.

A weight does not change once its model is loaded. So its copy stays while it is on the device, and the next time it
leaves nothing is copied: the device's memory is freed, and the weight is its copy again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from imagemill.models.loading.load_errors import is_out_of_memory

BLOCK_BYTES = 2**30
"""Weights share blocks of this size: torch rounds an allocation up to a power of two, and reuses one of that size."""

_ALIGNMENT = 64
"""Bytes; a multiple of any dtype's size."""

_copies: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""Weight -> its copy."""


def _pinned(size: int) -> torch.Tensor:
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


def _is_away(weight: torch.Tensor) -> bool:
    return weight.device.type != "cpu"


def to_host(
    part: torch.nn.Module,
    allocate: Callable[[int], torch.Tensor] = _pinned,
    is_away: Callable[[torch.Tensor], bool] = _is_away,
) -> torch.nn.Module:
    """Move a part's weights from a GPU into pinned memory, and all else that it has into the host's; returns it.

    Where memory cannot be pinned, the host's usual memory is used. ``allocate``: returns that many uninitialized bytes;
    ``is_away``: whether a weight is on the GPU. Tests replace both.
    """
    # A quantized weight is of another class, and has more than one tensor.
    weights = [weight for weight in part.parameters() if type(weight) is torch.nn.Parameter and is_away(weight)]
    # A tensor made in inference mode could not be written outside of it.
    with torch.inference_mode(False), torch.no_grad():
        missing = [weight for weight in weights if not _has_copy(weight)]
        try:
            copies = _allocate(missing, allocate)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return part.to("cpu")
        for weight, copy in zip(missing, copies, strict=True):
            copy.copy_(weight.data, non_blocking=True)
            _copies[weight] = copy
        if missing and missing[0].is_cuda:
            torch.cuda.synchronize(missing[0].device)
        for weight in weights:
            weight.data = _copies[weight]
    # Buffers, which may change, and quantized weights.
    return part.to("cpu")


def bytes_to_copy(parts: Iterable[torch.nn.Module]) -> int:
    """Bytes of host memory that the parts' weights still need to leave the device."""
    return sum(weight.nbytes for part in parts for weight in part.parameters() if not _has_copy(weight))


def forget_copies(parts: Iterable[torch.nn.Module]) -> int:
    """Free the copies of weights that are on the device; returns their bytes, which torch has for the next ones."""
    freed = 0
    for part in parts:
        for weight in part.parameters():
            if _is_away(weight) and (copy := _copies.pop(weight, None)) is not None:
                freed += copy.nbytes
    return freed


def _has_copy(weight: torch.nn.Parameter) -> bool:
    copy = _copies.get(weight)
    # A setting such as channels_last changes a weight's strides after it was loaded.
    return copy is not None and (copy.shape, copy.stride(), copy.dtype) == (weight.shape, weight.stride(), weight.dtype)


def _allocate(weights: Sequence[torch.Tensor], allocate: Callable[[int], torch.Tensor]) -> list[torch.Tensor]:
    """Uninitialized tensors with the shapes, strides and dtypes of these, several in a block."""
    ends: list[int] = []
    places: list[tuple[int, int]] = []
    for weight in weights:
        size = -(-_span(weight) // _ALIGNMENT) * _ALIGNMENT
        if not ends or ends[-1] + size > BLOCK_BYTES:
            ends.append(0)
        places.append((len(ends) - 1, ends[-1]))
        ends[-1] += size
    blocks = [allocate(size) for size in ends]
    return [
        blocks[number][start : start + _span(weight)].view(weight.dtype).as_strided(weight.shape, weight.stride())
        for weight, (number, start) in zip(weights, places, strict=True)
    ]


def _span(weight: torch.Tensor) -> int:
    """Bytes from a tensor's first value to its last."""
    if not weight.numel():
        return 0
    steps = zip(weight.shape, weight.stride(), strict=True)
    return (1 + sum((size - 1) * stride for size, stride in steps)) * weight.element_size()
