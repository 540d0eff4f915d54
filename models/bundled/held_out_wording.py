"""Held-out wordings: what a user may type first, in sentences that training never saw, to measure the model by.

With synonyms, capitals and punctuation, all of which the tokenizer's normaliser knows.
"""

from __future__ import annotations

import numpy as np

from imagemill.models.bundled.normalizer import SYNONYMS
from imagemill.models.bundled.scenes import Scene
from imagemill.models.bundled.typed import fill_instruction, filled, pick
from imagemill.models.bundled.wording import SIZES

PROMPTS = (
    "a {shape}, {size} and {colour}, {place}, on {background}",
    "make me a {size} {colour} {shape} {place} on a {background} background",
    "the background is {background}, and there is a {size} {colour} {shape} {place}",
    "{place} of a {background} background, a {size} {colour} {shape}",
    "{size} {shape}, colour {colour}, {place}, background {background}",
    "a {colour} {shape} of {size} size, {place}, on {background}",
    "{colour} {shape} that is {size}, {place}, against {background}",
    "background in {background}, {shape} in {colour}, {size} and {place}",
    "I'd like a {size} {colour} {shape} {place}, please, with a {background} background",
    "{size} {colour} {shape} {place}, all on {background}",
    "picture: {background} background, {place} {size} {colour} {shape}",
    "a {size} {colour} {shape} is {place} on {background}",
)
PLACES = {
    "left": ("left", "at the left", "on the left side"),
    "right": ("right", "at the right", "on the right side"),
    "top": ("top", "on the top", "in the top half"),
    "bottom": ("bottom", "on the bottom", "in the bottom half"),
    "centre": ("centre", "in the very centre", "at the middle"),
}
INSTRUCTIONS = {
    "recolour": (
        "Make that {shape} {colour}.",
        "I would prefer it in {colour}",
        "the {old_colour} {shape} should become {colour}",
        "let it be {colour}",
        "change its colour to {colour}",
        "paint over the {shape} in {colour}",
    ),
    "background": (
        "could the background be {background}?",
        "have a {background} background",
        "the {old_background} background should become {background}",
        "I would prefer a {background} background",
        "have it on a {background} background",
        "let it be on {background}",
    ),
    "replace": (
        "Make that {old_shape} a {shape}.",
        "I would prefer a {shape}",
        "this {old_shape} has to go, a {shape} instead",
        "put a {shape} there instead",
        "replace this {old_shape} by a {shape}",
        "change its shape to a {shape}",
    ),
    "larger": (
        "make that {shape} bigger",
        "I would prefer it bigger",
        "this {shape} has to be larger",
        "could it be larger?",
        "enlarge that {shape}",
        "have it larger",
    ),
    "smaller": (
        "make that {shape} smaller",
        "I would prefer it smaller",
        "this {shape} has to be smaller",
        "could it be smaller?",
        "shrink that {shape}",
        "have it smaller",
    ),
}


def describe_held_out(scene: Scene, rng: np.random.Generator) -> str:
    """One prompt that training never saw, as a user may type it."""
    text = pick(PROMPTS, rng).replace("{place}", pick(PLACES[scene.position], rng))
    return _as_typed(filled(text, scene, size=pick(SIZES[scene.size], rng)), rng)


def instruct_held_out(before: Scene, kind: str, after: Scene, rng: np.random.Generator) -> str:
    """One instruction that training never saw."""
    return _as_typed(fill_instruction(INSTRUCTIONS[kind], before, after, rng), rng)


def _as_typed(text: str, rng: np.random.Generator) -> str:
    """The text with a synonym here and there, and in capitals or with a full stop now and then."""
    words = text.split()
    for i, word in enumerate(words):
        single = [other for other in SYNONYMS.get(word.strip(",.:!"), ()) if " " not in other]
        if single and word.isalpha() and word not in ("a", "is", "change", "side") and rng.random() < 0.2:
            words[i] = pick(single, rng)
    text = " ".join(words)
    style = rng.random()
    text = text.upper() if style < 0.1 else text.capitalize() if style < 0.4 else text
    return text + "." if rng.random() < 0.2 and text[-1].isalnum() else text
