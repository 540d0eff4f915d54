"""Prompts that are longer than a pipeline's text encoders take: the rest of them is not generated."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.pipeline_call import text_tokens


def find_truncated(pipeline: Any, spec: ModelSpec, prompts: Iterable[str]) -> dict[str, bool]:
    """Whether none of the pipeline's tokenizers takes a prompt in full, by prompt; empty for a stand-in without any.

    FLUX's CLIP always stops at 77 tokens while its T5 reads on: such a prompt is read in full. What a pipeline wraps
    around a prompt, as a chat template, is not counted.
    """
    names = ("tokenizer", "tokenizer_2", "tokenizer_3")
    tokenizers = [found for name in names if hasattr(found := getattr(pipeline, name, None), "model_max_length")]
    if not tokenizers:
        return {}
    limits = [min(one.model_max_length, _most_tokens(pipeline, spec)) for one in tokenizers]
    return {
        prompt: all(
            len(one(prompt, verbose=False).input_ids) > limit for one, limit in zip(tokenizers, limits, strict=True)
        )
        for prompt in set(prompts)
    }


def _most_tokens(pipeline: Any, spec: ModelSpec) -> float:
    """What a call gives as max_sequence_length; infinite for a pipeline that takes none."""
    taken = inspect.signature(type(pipeline).__call__).parameters.get("max_sequence_length")
    if taken is None:
        return float("inf")
    return text_tokens(pipeline, spec) or taken.default
