"""Wordings of the bundled model's scenes: prompts and edit instructions in several ways, and back.

What a prompt leaves unsaid has a default: large, in the centre, on a white background.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from imagemill.models.bundled.normalizer import BACKGROUND
from imagemill.models.bundled.scenes import CENTRES, COLOURS, RADII, SHAPES, Scene

DEFAULTS = {"size": "large", "position": "centre", "background": "white"}
PROMPTS = (
    "a {size} {colour} {shape} {place} {setting}",
    "a {size} {colour} {shape} {place} {setting}",
    "a picture of a {size} {colour} {shape} {place} {setting}",
    "{size} {colour} {shape} {place} {setting}",
    "there is a {size} {colour} {shape} {place} {setting}",
    "a {size} {shape} coloured {colour} {place} {setting}",
    "a {size} {colour} {shape} {setting} {place}",
    "{place} a {size} {colour} {shape} {setting}",
)
SIZES = {"large": ("large", "big"), "small": ("small", "little")}
PLACES = {
    "left": ("on the left", "at the left side", "near the left edge"),
    "right": ("on the right", "at the right side", "near the right edge"),
    "top": ("at the top", "near the top edge", "on the upper side"),
    "bottom": ("at the bottom", "near the bottom edge", "on the lower side"),
    "centre": ("in the centre", "in the middle", "in the center"),
}
SETTINGS = (
    "on a {background} background",
    "on a {background} background",
    "against a {background} background",
    "with a {background} backdrop",
    "on plain {background}",
)
INSTRUCTIONS = {
    "recolour": (
        "make the {shape} {colour}",
        "paint the {shape} {colour}",
        "change the colour of the {shape} to {colour}",
        "turn the {old_colour} {shape} {colour}",
        "recolour the shape {colour}",
    ),
    "background": (
        "make the background {background}",
        "change the background to {background}",
        "turn the {old_background} background {background}",
        "put it on a {background} background",
        "replace the background with {background}",
    ),
    "replace": (
        "replace the {old_shape} with a {shape}",
        "turn the {old_shape} into a {shape}",
        "change the {old_shape} to a {shape}",
        "swap the {colour} {old_shape} for a {shape}",
        "make it a {shape} instead",
    ),
    "larger": (
        "make the {shape} larger",
        "make the {shape} bigger",
        "enlarge the {colour} {shape}",
        "make it large",
        "let the shape grow",
    ),
    "smaller": (
        "make the {shape} smaller",
        "make the {colour} {shape} small",
        "shrink the {shape}",
        "make it smaller",
        "let the shape shrink",
    ),
}
SUFFIX = " and keep everything else the same"


def world_words() -> list[str]:
    """Every word that a prompt or an instruction can contain, in alphabetical order: the model's whole vocabulary."""
    phrases = [*PROMPTS, *SETTINGS, SUFFIX, "an"]
    phrases += [phrase for group in (SIZES, PLACES, INSTRUCTIONS) for options in group.values() for phrase in options]
    phrases += [*SHAPES, *COLOURS, *RADII, *CENTRES, *map(BACKGROUND.format, COLOURS)]
    return sorted(set(re.sub(r"{\w+}", "", " ".join(phrases)).split()))


def _tidy(text: str) -> str:
    return re.sub(r"\ba (?=[aeiou])", "an ", " ".join(text.split()))


def describe(scene: Scene, rng: np.random.Generator) -> str:
    """One prompt for the scene; now and then it leaves out what the defaults say anyway."""

    def pick(options):
        return options[rng.integers(len(options))]

    def unsaid(field: str) -> bool:
        return getattr(scene, field) == DEFAULTS[field] and rng.random() < 0.25

    size = "" if unsaid("size") else pick(SIZES[scene.size])
    place = "" if unsaid("position") else pick(PLACES[scene.position])
    setting = "" if unsaid("background") else pick(SETTINGS).format(background=scene.background)
    words = {"size": size, "colour": scene.colour, "shape": scene.shape, "place": place, "setting": setting}
    return _tidy(pick(PROMPTS).format(**words))


def instruct(before: Scene, kind: str, after: Scene, rng: np.random.Generator) -> str:
    """One instruction that turns `before` into `after`; `kind` is one of `scenes.EDITS`."""
    options = INSTRUCTIONS[kind]
    words = {
        "shape": after.shape,
        "colour": after.colour,
        "background": after.background,
        "old_shape": before.shape,
        "old_colour": before.colour,
        "old_background": before.background,
    }
    suffix = SUFFIX if rng.random() < 0.1 else ""
    return _tidy(options[rng.integers(len(options))].format(**words) + suffix)


def scene_of(prompt: str) -> Scene:
    """The scene that a prompt in these wordings asks for: `describe`, backwards."""
    settings = "|".join(re.sub(r"{\w+}", f"({'|'.join(COLOURS)})", setting) for setting in set(SETTINGS))
    prompt = re.sub(r"\ban\b", "a", prompt)
    found = re.search(settings, prompt)
    background = next(colour for colour in found.groups() if colour) if found else DEFAULTS["background"]
    rest = prompt.replace(found.group(), "") if found else prompt
    return Scene(
        shape=_last(rest, SHAPES),
        colour=_last(rest, COLOURS),
        background=background,
        size=next((size for size, words in SIZES.items() if _last(rest, words)), DEFAULTS["size"]),
        position=next((name for name, places in PLACES.items() if _last(rest, places)), DEFAULTS["position"]),
    )


def edited(scene: Scene, instruction: str) -> Scene:
    """The scene after an instruction in these wordings: `instruct`, backwards."""
    colour, shape = _last(instruction, COLOURS), _last(instruction, SHAPES)
    if colour and "background" in instruction:
        return replace(scene, background=colour)
    if shape and shape != scene.shape:
        return replace(scene, shape=shape)
    if _last(instruction, ("larger", "bigger", "enlarge", "large", "grow")):
        return replace(scene, size="large")
    if _last(instruction, ("smaller", "small", "shrink")):
        return replace(scene, size="small")
    return replace(scene, colour=colour)


def _last(text: str, options) -> str | None:
    """The one of the options, each a word or a phrase, that occurs last in the text."""
    found = re.findall(rf"\b(?:{'|'.join(options)})\b", text)
    return found[-1] if found else None
