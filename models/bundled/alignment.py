"""Teach the text encoders that a typed wording means what a whole sentence means, without the transformer.

A trained pipeline draws whole sentences well. So its encoders' outputs for a sentence are what the outputs for the same
request in any other wording should be: CLIP's for the text, T5's for each word that both texts have. A step costs a
hundredth of one through the transformer, which then reads the new wordings nearly as it read the sentences.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import FluxPipeline
from torch.nn.functional import mse_loss

from imagemill.models.bundled.scenes import CENTRES, COLOURS, RADII, SHAPES, Scene, sample_edits
from imagemill.models.bundled.typed import describe_typed, instruct_typed
from imagemill.models.bundled.wording import describe, instruct

PLACES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
INSTRUCTIONS = {
    "recolour": "make the {0.shape} {0.colour}",
    "background": "make the background {0.background}",
    "replace": "turn the {1.shape} into a {0.shape}",
    "larger": "make the {0.shape} larger",
    "smaller": "make the {0.shape} smaller",
}
SHARED = (*SHAPES, *COLOURS, *RADII, *CENTRES, "background", "larger", "smaller", "[PAD]", "[EOS]")


def _sentence(scene: Scene) -> str:
    place = PLACES.get(scene.position, "in the centre")
    return f"a {scene.size} {scene.colour} {scene.shape} {place} on a {scene.background} background"


def _pairs(rng: np.random.Generator, n: int) -> list[tuple[str, str]]:
    """(text, the sentence that means the same), a third each: as they were taught, typed prompts, typed edits."""
    pairs = []
    for i, (before, kind, after) in enumerate(sample_edits(rng, n)):
        match i % 6:
            case 0:
                pairs.append((text := describe(after, rng), text))
            case 1:
                pairs.append((text := instruct(before, kind, after, rng), text))
            case 2 | 3:
                pairs.append((describe_typed(after, rng), _sentence(after)))
            case _:
                sentence = INSTRUCTIONS[kind].format(after, before)
                pairs.append((instruct_typed(before, kind, after, rng), sentence))
    return pairs


def _shared_words(texts: list[list[str]], sentences: list[list[str]]) -> tuple[list[int], list[int]]:
    """Flat positions of the words that a text and its sentence have in common, in the texts and in the sentences."""
    width, here, there = len(texts[0]), [], []
    for row, (ours, theirs) in enumerate(zip(texts, sentences, strict=True)):
        where = {word: position for position, word in enumerate(theirs)}
        for position, word in enumerate(ours):
            if ours == theirs or (word in where and word in SHARED):
                here.append(row * width + position)
                there.append(row * width + (position if ours == theirs else where[word]))
    return here, there


def align_encoders(pipeline: FluxPipeline, teacher: FluxPipeline, steps: int, batch: int = 96, rate: float = 1e-3):
    """Train the pipeline's text encoders in place by those of ``teacher``, whose tokenizer has its own words."""

    def tokens_of(tokenizer, texts):
        tokens = tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids
        words = [tokenizer.convert_ids_to_tokens(row) for row in tokens.tolist()]
        return tokens.to(pipeline.device), [[word.removeprefix("background_") for word in row] for row in words]

    modules = [pipeline.text_encoder.train(), pipeline.text_encoder_2.train()]
    optimizer = torch.optim.AdamW([p for module in modules for p in module.parameters()], weight_decay=0.0)
    for step in range(steps):
        rng = np.random.default_rng((6, step))
        texts, sentences = zip(*_pairs(rng, batch), strict=True)
        (tokens, words), (taught, taught_words) = (
            tokens_of(pipeline.tokenizer, texts),
            tokens_of(teacher.tokenizer, sentences),
        )
        here, there = _shared_words(words, taught_words)
        with torch.no_grad():
            pooled, hidden = teacher.text_encoder(taught).pooler_output, teacher.text_encoder_2(taught)[0]
        found, found_hidden = pipeline.text_encoder(tokens).pooler_output, pipeline.text_encoder_2(tokens)[0]
        loss = mse_loss(found, pooled) / pooled.var()
        loss = loss + mse_loss(found_hidden.flatten(0, 1)[here], hidden.flatten(0, 1)[there]) / hidden.var()
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100, (steps - step) / (steps / 2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            print(f"alignment, step {step + 1}: {loss.item():.4f}", flush=True)
    for module in modules:
        module.eval()
