"""Further training begins with what the earlier weights know, and brings typed wordings near to whole sentences."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from diffusers import FluxPipeline

from imagemill.models.bundled.alignment import align_encoders
from imagemill.models.bundled.architecture import VOCABULARY, with_newest_words
from tests.conftest import ROOT

TYPED = ("black background, ring purple", "purple ring on black", "ring purple large, black background")
SENTENCE = "a large purple ring in the centre on a black background"


@pytest.fixture(scope="module")
def first() -> FluxPipeline:
    return FluxPipeline.from_pretrained(ROOT / "models/bundled/model")


def read(pipeline: FluxPipeline, text: str) -> torch.Tensor:
    """CLIP's output for a text."""
    tokens = pipeline.tokenizer(text, padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        return pipeline.text_encoder(tokens).pooler_output


def test_a_pipeline_with_more_words_reads_a_sentence_as_before(first: FluxPipeline):
    newer = with_newest_words(deepcopy(first))
    assert len(first.tokenizer) < len(newer.tokenizer) == newer.text_encoder.config.vocab_size == len(VOCABULARY)
    assert torch.equal(read(newer, SENTENCE), read(first, SENTENCE))


@pytest.mark.slow
def test_aligned_encoders_read_a_typed_wording_nearly_as_the_sentence(first: FluxPipeline):
    newer = with_newest_words(deepcopy(first))

    def distance() -> float:
        sentence = read(first, SENTENCE)
        return sum(float((read(newer, text) - sentence).square().mean()) for text in TYPED)

    before = distance()
    align_encoders(newer, first, steps=80, batch=48, rate=2e-3)
    assert distance() < 0.8 * before
