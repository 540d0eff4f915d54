"""Wordings that a user types first: short forms, tags and everyday edits, put together out of parts in several orders.

Capitals, punctuation and synonyms are the tokenizer's work (`normalizer.py`), so they are not here.
"""

from __future__ import annotations

import re

import numpy as np

from imagemill.models.bundled.scenes import COLOURS, RADII, SHAPES, Scene
from imagemill.models.bundled.wording import DEFAULTS, SIZES

UNSAID_SHARE = 0.5  # of what the defaults say anyway is left out

THINGS = (
    "{size} {colour} {shape}",
    "{size} {colour} {shape}",
    "a {size} {colour} {shape}",
    "{colour} {shape} {size}",
    "{colour} {size} {shape}",
    "{shape} {colour} {size}",
    "{shape} {size} {colour}",
    "{size} {shape} coloured {colour}",
    "the {shape} is {size} {colour}",
)
PLACES = {
    "left": ("left", "on left", "on the left", "left side", "to the left", "in the left side", "at the left edge"),
    "right": (
        "right",
        "on right",
        "on the right",
        "right side",
        "to the right",
        "in the right side",
        "at the right edge",
    ),
    "top": ("top", "at top", "at the top", "upper side", "in the upper side", "on top", "top edge"),
    "bottom": (
        "bottom",
        "at bottom",
        "at the bottom",
        "lower side",
        "in the lower side",
        "on the bottom",
        "bottom edge",
    ),
    "centre": ("centre", "center", "middle", "in the centre", "in the middle", "in middle", "at the center"),
}
SETTINGS = (
    "on {background}",
    "on a {background} background",
    "on {background} background",
    "{background} background",
    "background {background}",
    "the background is {background}",
    "with background {background}",
    "and the background is {background}",
)
SETTINGS_FIRST = (
    "{background} background",
    "a {background} background",
    "on a {background} background",
    "on {background}",
    "background {background}",
    "{background} background with",
    "a {background} background and",
    "the background is {background}",
)
ORDERS = (
    ("thing", "setting", "place"),
    ("thing", "place", "setting"),
    ("thing", "place", "setting"),
    ("setting", "thing", "place"),
    ("setting", "place", "thing"),
    ("place", "thing", "setting"),
)
INSTRUCTIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "recolour": (
        ("make", "turn", "paint", "colour", "recolour", "change"),
        ("it", "the shape", "the {shape}", "{shape}", "the {old_colour} {shape}", "{old_colour} {shape}"),
        ("{colour}", "{colour}", "to {colour}", "into {colour}"),
        ("", "", "instead"),
    ),
    "background": (
        ("make", "turn", "paint", "change", "recolour", "replace"),
        ("the background", "background", "the {old_background} background", "{old_background} background"),
        ("{background}", "to {background}", "into {background}", "with {background}"),
        ("", "", "instead"),
    ),
    "replace": (
        ("replace", "swap", "change", "turn", "make"),
        ("it", "the shape", "the {old_shape}", "{old_shape}", "the {colour} {old_shape}"),
        (
            "with a {shape}",
            "for a {shape}",
            "into a {shape}",
            "to a {shape}",
            "a {shape}",
            "with {shape}",
            "for {shape}",
        ),
        ("", "", "instead"),
    ),
    "larger": (
        ("make", "make", "enlarge", "grow", ""),
        ("it", "the shape", "the {shape}", "{shape}", "the {colour} {shape}", "the size"),
        ("larger", "larger", "large"),
    ),
    "smaller": (
        ("make", "make", "shrink", ""),
        ("it", "the shape", "the {shape}", "{shape}", "the {colour} {shape}", "the size"),
        ("smaller", "smaller", "small"),
    ),
}
"""Parts of an instruction, in their order."""
OTHER_INSTRUCTIONS = {
    "recolour": (
        "change colour to {colour}",
        "change the colour to {colour}",
        "change {shape} colour to {colour}",
        "{shape} {colour}",
        "the {shape} is {colour}",
        "let the {shape} be {colour}",
        "{colour} instead of {old_colour}",
        "replace {old_colour} with {colour}",
        "the {shape} to be {colour}",
        "the {shape} coloured {colour}",
        "it is {colour}",
        "give the {shape} a {colour} colour",
        "the colour of the {shape} is {colour}",
        "not {old_colour} but {colour}",
    ),
    "background": (
        "{background} background",
        "background {background}",
        "put it on {background}",
        "the background is {background}",
        "on a {background} background",
        "a {background} background instead",
        "make it a {background} background",
        "let the background be {background}",
        "give it a {background} background",
        "the background is {background} instead",
        "swap the background for {background}",
        "swap the background for a {background} background",
        "use {background} as the background",
        "put the {shape} on {background}",
    ),
    "replace": (
        "a {shape} instead",
        "a {shape} instead of the {old_shape}",
        "{shape} instead of {old_shape}",
        "{shape}",
        "a {shape} instead of it",
        "the {old_shape} is a {shape}",
        "instead of the {old_shape} put a {shape}",
        "put a {shape} instead of the {old_shape}",
        "it is a {shape}",
        "make a {shape} of the {old_shape}",
        "let it be a {shape}",
        "turn the {old_shape} into a {shape}",
    ),
    "larger": (
        "larger",
        "let it grow",
        "enlarge it",
        "a larger {shape}",
        "larger {shape}",
        "change the size to large",
        "it is larger",
        "make the {colour} one larger",
        "the {shape} is larger",
        "let the {shape} be larger",
        "grow it to large",
    ),
    "smaller": (
        "smaller",
        "small",
        "let it shrink",
        "shrink it",
        "a smaller {shape}",
        "smaller {shape}",
        "change the size to small",
        "it is smaller",
        "make the {colour} one smaller",
        "the {shape} is smaller",
        "let the {shape} be smaller",
        "shrink it to small",
    ),
}
OTHER_SHARE = 0.6  # of the instructions are these
ARTICLE_SHARE = 0.15  # of the articles before a word are left out, or put in where there are none


def default_of(field: str, scene: Scene) -> str:
    """The default that a prompt for this scene leaves unsaid: a white shape alone is on black."""
    return "black" if field == "background" and scene.colour == "white" else DEFAULTS[field]


def describe_typed(scene: Scene, rng: np.random.Generator) -> str:
    """One prompt for training, put together out of the parts."""
    said = _said_fields(scene, rng)
    order = pick(ORDERS, rng)
    parts = {
        "thing": pick(THINGS, rng),
        "place": pick(PLACES[scene.position], rng) if "position" in said else "",
        "setting": pick(SETTINGS_FIRST if order[0] == "setting" else SETTINGS, rng) if "background" in said else "",
    }
    size = pick(SIZES[scene.size], rng) if "size" in said else ""
    return _other_articles(filled(" ".join(parts[name] for name in order), scene, size=size), rng)


def instruct_typed(before: Scene, kind: str, after: Scene, rng: np.random.Generator) -> str:
    """One instruction for training; `kind` is one of `scenes.EDITS`."""
    parts = [OTHER_INSTRUCTIONS[kind]] if rng.random() < OTHER_SHARE else INSTRUCTIONS[kind]
    return _other_articles(fill_instruction((" ".join(pick(part, rng) for part in parts),), before, after, rng), rng)


def _other_articles(text: str, rng: np.random.Generator) -> str:
    words: list[str] = []
    for word in text.split():
        has_article = bool(words) and words[-1] in ("a", "the")
        if word in SHAPES and rng.random() < ARTICLE_SHARE:
            if has_article:
                words.pop()
            elif not words or words[-1] not in (*COLOURS, *RADII, "big", "little"):
                words.append(pick(("a", "the"), rng))
        words.append(word)
    return " ".join(words)


def pick(options, rng: np.random.Generator):
    return options[rng.integers(len(options))]


def _said_fields(scene: Scene, rng: np.random.Generator) -> set[str]:
    """The fields with a default that a prompt names."""
    return {
        field for field in DEFAULTS if getattr(scene, field) != default_of(field, scene) or rng.random() >= UNSAID_SHARE
    }


def filled(text: str, scene: Scene, **words: str) -> str:
    fields = {"colour": scene.colour, "shape": scene.shape, "background": scene.background}
    text = " ".join(text.format(**fields, **words).split())
    return re.sub(r"(?: ?([,.:]))+", r"\1", text).lstrip(",.: ")


def fill_instruction(options, before: Scene, after: Scene, rng: np.random.Generator) -> str:
    old = {f"old_{field}": getattr(before, field) for field in ("shape", "colour", "background")}
    return filled(pick(options, rng), after, **old)
