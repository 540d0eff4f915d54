"""Cache of text encodings: a batch whose texts were all encoded before is not encoded again.

All edits of a dataset may have the same instruction, and all images of a prompt the same text: with FLUX's T5, an
encoder of 4.7 B parameters is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch

from imagemill.models.loading.caches.row_cache import RowCache, is_plain

MAX_BYTES = 256 * 2**20
"""On the encoder's device: 64 texts of 512 tokens for FLUX.1's T5 in bfloat16, but one or two for the language models
of FLUX.2 and Qwen-Image, which return every layer's values."""


_TOKENS_FIRST = ("ChatGLMModel",)
"""Classes whose outputs have the tokens as their first axis, not the rows: they have no cache."""


def cache_texts(pipeline: Any) -> None:
    """Give each of the pipeline's text encoders a cache, unless it has one, or cannot have any."""
    for name, encoder in pipeline.components.items():
        is_encoder = name.startswith("text_encoder") and isinstance(encoder, torch.nn.Module)
        has_rows = is_encoder and type(encoder).__name__ not in _TOKENS_FIRST
        if has_rows and not isinstance(encoder.forward, TextCache):
            encoder.forward = TextCache(encoder.forward)


class TextCache(RowCache):
    """Replaces a text encoder's ``forward``; tensors among its arguments are batches of token ids, (n, tokens)."""

    def __init__(self, forward: Callable[..., Any], size: int = MAX_BYTES) -> None:
        super().__init__(forward, size)

    def keys(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Hashable]:
        """For each row its tokens, with all other arguments of the call."""
        named = {**dict(enumerate(args)), **kwargs}
        tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
        others = tuple((name, value) for name, value in named.items() if name not in tensors)
        sizes = {len(value) for value in tensors.values()}
        ids = all(value.ndim == 2 and not value.is_floating_point() for value in tensors.values())
        if len(sizes) != 1 or not ids or not all(is_plain(value) for _, value in others):
            return []
        rows = {name: value.tolist() for name, value in tensors.items()}
        # The batch's size decides the bits, too.
        size = sizes.pop()
        return [(size, others, *((name, tuple(values[i])) for name, values in rows.items())) for i in range(size)]

    def rows(self, output: Any, count: int) -> list[Any]:
        """The rows of all tensors in an output."""
        return [_row(output, number) for number in range(count)] if _has_only_rows(output, count) else []

    def whole(self, rows: list[Any]) -> Any:
        """An output of the same structure."""
        return _stack(rows)


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


def _stack(rows: list[Any]) -> Any:
    first = rows[0]
    if isinstance(first, torch.Tensor):
        return torch.stack(rows)
    if isinstance(first, Mapping):
        return type(first)(**{name: _stack([row[name] for row in rows]) for name in first})
    return first if first is None else tuple(_stack([row[i] for row in rows]) for i in range(len(first)))
