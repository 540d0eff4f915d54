"""Cache of text encodings: a batch of known texts is not encoded again and keeps every bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline

from imagemill.models.loading.caches.text_cache import TextCache, cache_texts
from tests.models.tiny.kolors import kolors


@pytest.fixture(scope="module")
def pipeline(model: Path) -> FluxPipeline:
    loaded = FluxPipeline.from_pretrained(model)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def generate(pipeline: FluxPipeline, prompts: list[str]) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(1) for _ in prompts]
    return pipeline(
        prompts,
        width=64,
        height=64,
        num_inference_steps=1,
        max_sequence_length=16,
        generator=generators,
        output_type="pt",
    ).images


def test_a_batch_of_known_texts_is_not_encoded_again_and_its_images_keep_every_bit(pipeline: FluxPipeline):
    prompts = ["a fox", "a kite", "a fox", "a ring"]
    plain = generate(pipeline, prompts)
    encoded = []
    pipeline.text_encoder_2.encoder.register_forward_hook(lambda *_: encoded.append(1))
    cache_texts(pipeline)
    cache_texts(pipeline)
    assert torch.equal(generate(pipeline, prompts), plain)
    assert len(encoded) == 1
    again = generate(pipeline, ["a ring", "a ring", "a fox", "a kite"])
    assert len(encoded) == 1
    assert torch.equal(again[[2, 3, 2, 0]], plain)


def test_the_least_recently_used_texts_are_evicted():
    calls = []

    def encode(ids: torch.Tensor) -> torch.Tensor:
        calls.append(ids.tolist())
        return ids.float()

    # Two texts of one number, 4 bytes each.
    cache = TextCache(encode, size=8)
    for text in (1, 2, 1, 3, 1, 2):
        cache(torch.tensor([[text]]))
    assert calls == [[[1]], [[2]], [[3]], [[2]]]


def test_an_output_that_is_not_row_by_row_is_not_cached():
    calls = []

    def encode(ids: torch.Tensor) -> tuple[torch.Tensor, object]:
        calls.append(1)
        return ids.float(), object()

    cache = TextCache(encode)
    cache(torch.tensor([[1]]))
    cache(torch.tensor([[1]]))
    assert len(calls) == 2


def test_an_encoder_whose_output_begins_with_the_tokens_is_not_cached():
    """With as many rows as tokens, the tokens of all rows would be cached as one row."""
    pipeline = kolors()
    cache_texts(pipeline)
    ids = torch.arange(16).view(4, 4)

    def encoded(rows: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            output = pipeline.text_encoder(input_ids=rows, output_hidden_states=True)
        return output.hidden_states[-1]

    plain = encoded(ids)
    assert plain.shape[:2] == (4, 4)
    assert torch.equal(encoded(ids.flip(0)).flip(1), plain)
