"""Column ``prompt_truncated``: prompts that exceed the model's text encoders, so that their end is not read."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image

from imagemill.data.config.chain import plain_steps
from imagemill.data.records import Drawing
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.measure_registry import Measure, MeasureContext


def settings(recipe: Mapping[str, Any]) -> dict[str, bool]:
    """Step -> whether it has a column. Without one its prompts are only counted, for the warning at the build's end."""
    return dict.fromkeys(plain_steps(recipe), bool(recipe.get("prompt_truncated")))


def of(images: Sequence[tuple[Drawing, Image.Image]], context: MeasureContext) -> list[bool | None]:
    """One bool an image: True if its prompt is truncated; None for a stand-in without tokenizers."""
    truncated = find_truncated(context.pipeline, context.spec, (drawing.prompt for drawing, _ in images))
    return [truncated.get(drawing.prompt) for drawing, _ in images]


def find_truncated(pipeline: Any, spec: ModelSpec, prompts: Iterable[str]) -> dict[str, bool]:
    """Prompt -> whether none of the pipeline's tokenizers takes it in full; empty for a pipeline without any.

    FLUX's CLIP always stops at 77 tokens while its T5 reads on: such a prompt is read in full. What a pipeline wraps
    around a prompt, as a chat template, is not counted.
    """
    tokenizers = _tokenizers(pipeline, spec)
    if not tokenizers:
        return {}
    return {
        prompt: all(len(tokenizer(prompt, verbose=False).input_ids) > limit for tokenizer, limit in tokenizers)
        for prompt in set(prompts)
    }


def max_tokens(pipeline: Any, spec: ModelSpec) -> int:
    """The most tokens of a prompt that one of the pipeline's text encoders takes. It has at least one."""
    return int(max(limit for _, limit in _tokenizers(pipeline, spec)))


def _tokenizers(pipeline: Any, spec: ModelSpec) -> list[tuple[Any, float]]:
    """The pipeline's tokenizers, each with the number of tokens that its text encoder takes."""
    names = ("tokenizer", "tokenizer_2", "tokenizer_3")
    found = [item for name in names if hasattr(item := getattr(pipeline, name, None), "model_max_length")]
    return [(tokenizer, min(tokenizer.model_max_length, _max_tokens(pipeline, spec))) for tokenizer in found]


def _max_tokens(pipeline: Any, spec: ModelSpec) -> float:
    """The max_sequence_length of a call; infinite for a pipeline that takes none."""
    # Imported here: it imports torch, which the flow's process must not.
    from imagemill.models.drawing.pipeline_call import text_tokens

    parameter = inspect.signature(type(pipeline).__call__).parameters.get("max_sequence_length")
    if parameter is None:
        return float("inf")
    return text_tokens(pipeline, spec) or parameter.default


MEASURE = Measure(
    name="prompt_truncated",
    kind="bool",
    settings=settings,
    of=of,
    needs_pipeline=True,
    is_column=lambda columns: any(columns.values()),
    # The name is that of version 0.1.0.
    digest=lambda columns: {"truncation": True} if any(columns.values()) else {},
)
