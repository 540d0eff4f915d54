"""A language model that sees: it decodes the images that it is sent, and says by the independent judge what is there.

It knows the bundled model's scenes. What it answers depends on the question alone:

- two images and ``Instruction: ...``: ``follows`` and ``keeps`` (1 to 5), ``quality``, ``reason``.
- one image and ``Prompt: ...``: ``follows``, ``quality``, ``reason``, ``caption``.
- one image otherwise: ``edit_prompt`` (of the kind that the question names, if any), ``short``, ``target_prompt``,
  ``inverse_edit``, ``prompt`` (what the image shows), ``caption``.
- no image: ``prompt``, ``edit_prompt``, ``target_prompt`` of a scene.

It gives all that it knows; which fields are read is the recipe's choice.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import astuple, replace
from typing import Any

import numpy as np

from benchmarks.judge import UNCLEAR, Reading, read
from imagemill.models.bundled.scenes import COLOURS, EDITS, SHAPES, Scene, all_scenes
from imagemill.models.bundled.wording import edited, instruct, scene_of
from tests.models.chat_server import Asked

FURTHEST_MOVE = 3.0
"""Pixels that a shape's centre may move in an edit that keeps it."""

SHORT = {
    "recolour": "make it {0.colour}",
    "background": "{0.background} background",
    "replace": "make it a {0.shape} instead",
    "larger": "make it larger",
    "smaller": "make it smaller",
}


def see(asked: Asked) -> dict[str, Any]:
    """The answer to a question."""
    readings = [read(image) for image in asked.images]
    if len(readings) >= 2:
        return judge_edit(readings[0], readings[-1], _after("Instruction", asked.text))
    rng = np.random.default_rng(zlib.crc32(asked.question.encode()))
    if readings and re.search(r"Prompt: ", asked.text):
        return judge_image(readings[0], _after("Prompt", asked.text))
    if readings:
        return write_edit(readings[0].scene, asked.text, rng)
    scenes = all_scenes(held_out=False)
    scene = scenes[rng.integers(len(scenes))]
    return {**write_edit(scene, asked.text, rng), "prompt": caption(scene)}


def judge_edit(before: Reading, after: Reading, instruction: str) -> dict[str, Any]:
    """How well an edit follows its instruction, and keeps the rest."""
    if UNCLEAR in astuple(before.scene) or UNCLEAR in astuple(after.scene):
        return {"follows": 1, "keeps": 1, "quality": 1, "consistency": 1, "reason": "There is no clear shape."}
    wanted = edited(before.scene, instruction)
    changed = {name for name in Scene.__dataclass_fields__ if getattr(wanted, name) != getattr(before.scene, name)}
    wrong = after.differences(wanted)
    moved = float(np.hypot(after.centre[0] - before.centre[0], after.centre[1] - before.centre[1]))
    others = len(wrong - changed) + (moved > FURTHEST_MOVE)
    return {
        "follows": 1 if wrong & changed else 5,
        "keeps": max(1, 5 - 2 * others),
        "quality": 5 if after.overlap > 0.8 else 3,
        "consistency": max(1, 5 - 2 * others),
        "reason": f"Wrong: {', '.join(sorted(wrong)) or 'nothing'}; the shape moved by {moved:.1f} pixels.",
    }


def judge_image(reading: Reading, prompt: str) -> dict[str, Any]:
    """How well an image follows its prompt."""
    wrong = reading.differences(scene_of(prompt))
    return {
        "follows": max(1, 5 - len(wrong)),
        "quality": 5 if reading.overlap > 0.8 else 3,
        "reason": f"Wrong: {', '.join(sorted(wrong)) or 'nothing'}.",
        "caption": caption(reading.scene),
    }


def write_edit(scene: Scene, question: str, rng: np.random.Generator) -> dict[str, Any]:
    """An instruction for a scene, its short form, and what is there before and after."""
    if UNCLEAR in astuple(scene):
        return {"refused": "There is no clear shape."}
    kinds = [kind for kind in EDITS if re.search(rf"\b{kind}\b", question)] or list(EDITS)
    kind = kinds[rng.integers(len(kinds))]
    if kind in ("larger", "smaller"):
        kind = "larger" if scene.size == "small" else "smaller"
    after = _changed(scene, kind, rng)
    back = {"larger": "smaller", "smaller": "larger"}.get(kind, kind)
    return {
        "edit_prompt": instruct(scene, kind, after, rng),
        "short": SHORT[kind].format(after),
        "inverse_edit": instruct(after, back, scene, rng),
        "prompt": caption(scene),
        "caption": caption(scene),
        "target_prompt": caption(after),
        "task": kind,
    }


def caption(scene: Scene) -> str:
    """A scene in the words of the bundled model's prompts."""
    place = (
        "in the centre"
        if scene.position == "centre"
        else {
            **{"left": "on the left", "right": "on the right"},
            **{"top": "at the top", "bottom": "at the bottom"},
        }[scene.position]
    )
    text = f"a {scene.size} {scene.colour} {scene.shape} {place} on a {scene.background} background"
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def _changed(scene: Scene, kind: str, rng: np.random.Generator) -> Scene:
    colours = [colour for colour in COLOURS if colour not in (scene.colour, scene.background)]
    shapes = [shape for shape in SHAPES if shape != scene.shape]
    if kind == "recolour":
        return replace(scene, colour=colours[rng.integers(len(colours))])
    if kind == "background":
        return replace(scene, background=colours[rng.integers(len(colours))])
    if kind == "replace":
        return replace(scene, shape=shapes[rng.integers(len(shapes))])
    return replace(scene, size="large" if kind == "larger" else "small")


def _after(name: str, text: str) -> str:
    """What stands behind ``name: `` on its line."""
    found = re.search(rf"{name}: (.*)", text)
    assert found, f"the question has no line '{name}: ...'"
    return found[1].strip().strip("\"'")
