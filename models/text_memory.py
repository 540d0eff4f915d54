"""A text encoder that remembers: a batch whose texts were all encoded before is put together from memory.

Every edit of a dataset may have the same instruction, and every picture of a prompt the same text: with FLUX's T5 that
is 4.7 B parameters of work a batch. What is remembered was computed in a batch of the same shape, so it has the bits
that encoding it again would give.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch

REMEMBERED_BYTES = 256 * 2**20
"""What a text encoder remembers at the most, on its device: 64 texts of 512 tokens for FLUX.1's T5 in bfloat16, but one
or two for the language models of FLUX.2 and Qwen-Image, which give every layer's values."""


def remember_texts(pipeline: Any) -> None:
    """Give each of the pipeline's text encoders a memory, unless it has one."""
    for name, encoder in pipeline.components.items():
        is_encoder = name.startswith("text_encoder") and isinstance(encoder, torch.nn.Module)
        if is_encoder and not isinstance(encoder.forward, TextMemory):
            encoder.forward = TextMemory(encoder.forward)


class TextMemory:
    """Stands in for a text encoder's ``forward``; tensors among its arguments are batches, row by row."""

    def __init__(self, forward: Callable[..., Any], size: int = REMEMBERED_BYTES) -> None:
        self._forward = forward
        self._room = size
        self._rows: OrderedDict[Hashable, Any] = OrderedDict()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The encoder's output for a batch of token ids, (n, tokens)."""
        keys = _row_keys((args, kwargs))
        if keys and all(key in self._rows for key in keys):
            for key in keys:
                self._rows.move_to_end(key)
            return _stack([self._rows[key] for key in keys])
        output = self._forward(*args, **kwargs)
        if keys and _has_only_rows(output, len(keys)):
            for number, key in enumerate(keys):
                self._remember(key, output, number)
        return output

    def _remember(self, key: Hashable, output: Any, number: int) -> None:
        if key in self._rows:
            self._rows.move_to_end(key)
            return
        row = _row(output, number)
        self._rows[key] = row
        self._room -= _bytes_of(row)
        while self._room < 0:
            _, oldest = self._rows.popitem(last=False)
            self._room += _bytes_of(oldest)


def _row_keys(arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> list[Hashable]:
    """A key for each row of a batch: its tokens, and all else that the call says; none where that cannot be told."""
    args, kwargs = arguments
    named = {**dict(enumerate(args)), **kwargs}
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    others = tuple((name, value) for name, value in named.items() if name not in tensors)
    plain = all(value is None or isinstance(value, bool | int | float | str | torch.dtype) for _, value in others)
    sizes = {len(value) for value in tensors.values() if value.ndim == 2 and not value.is_floating_point()}
    if not plain or len(sizes) != 1 or any(value.ndim != 2 or value.is_floating_point() for value in tensors.values()):
        return []
    rows = {name: value.tolist() for name, value in tensors.items()}
    # The batch's size decides the bits, too.
    size = sizes.pop()
    return [(size, others, *((name, tuple(values[i])) for name, values in rows.items())) for i in range(size)]


def _has_only_rows(output: Any, size: int) -> bool:
    if isinstance(output, torch.Tensor):
        return output.ndim > 0 and len(output) == size
    if isinstance(output, Mapping):
        return all(_has_only_rows(value, size) for value in output.values())
    return output is None or (isinstance(output, tuple) and all(_has_only_rows(value, size) for value in output))


def _row(output: Any, number: int) -> Any:
    if isinstance(output, torch.Tensor):
        return output[number].clone()
    if isinstance(output, Mapping):
        return type(output)(**{name: _row(value, number) for name, value in output.items()})
    return output if output is None else tuple(_row(value, number) for value in output)


def _bytes_of(row: Any) -> int:
    if isinstance(row, torch.Tensor):
        return row.nbytes
    values = row.values() if isinstance(row, Mapping) else row or ()
    return sum(map(_bytes_of, values))


def _stack(rows: list[Any]) -> Any:
    first = rows[0]
    if isinstance(first, torch.Tensor):
        return torch.stack(rows)
    if isinstance(first, Mapping):
        return type(first)(**{name: _stack([row[name] for row in rows]) for name in first})
    return first if first is None else tuple(_stack([row[i] for row in rows]) for i in range(len(first)))
