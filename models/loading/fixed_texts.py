"""Texts of one length for pipelines that pad prompts to a batch's longest: no row depends on its neighbours' texts."""

from __future__ import annotations

from typing import Any

import torch

from imagemill.models.catalog.limits import ONE_TEXT_LENGTH


def fix_text_lengths(pipeline: Any) -> Any:
    """Make a pipeline's texts all ``max_sequence_length`` tokens long, always with a mask. Returns the pipeline."""
    if type(pipeline).__name__ in ONE_TEXT_LENGTH:
        pipeline.encode_prompt = FixedTexts(pipeline)
    return pipeline


class FixedTexts:
    """Replaces a pipeline's ``encode_prompt``."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._encode = pipeline.encode_prompt

    def __call__(self, *args: Any, max_sequence_length: int, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings, (n, max_sequence_length, width), and their mask."""
        pipeline, tokenizer = self._pipeline, self._pipeline.tokenizer
        # The text encoder has the template's tokens before these.
        length = max_sequence_length + pipeline.prompt_template_encode_start_idx

        def to_one_length(texts: list[str], **settings: Any) -> Any:
            return tokenizer(texts, **{**settings, "padding": "max_length", "max_length": length})

        # Past the pipeline's own __setattr__, which takes what it is given for a part of the model.
        object.__setattr__(pipeline, "tokenizer", to_one_length)
        try:
            texts, mask = self._encode(*args, max_sequence_length=max_sequence_length, **kwargs)
        finally:
            object.__setattr__(pipeline, "tokenizer", tokenizer)
        if mask is None:
            mask = torch.ones(texts.shape[:2], dtype=torch.long, device=texts.device)
        missing = max_sequence_length - texts.shape[1]
        return torch.nn.functional.pad(texts, (0, 0, 0, missing)), torch.nn.functional.pad(mask, (0, missing))
