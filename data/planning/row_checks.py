"""Checks of a row's settings against its model, and the image size that they decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.data.config.steps import Generate
from imagemill.data.errors import BadRow
from imagemill.data.images.size_buckets import nearest, parse_ratio
from imagemill.data.messages import shown
from imagemill.data.prompts.row import Row
from imagemill.data.prompts.row_settings import left_unread
from imagemill.data.records import ModelFacts


def check_drawing(row: Row, drawing: Mapping[str, Any], facts: ModelFacts) -> None:
    """Raise BadRow if the model cannot generate a drawing with these fields."""
    for name in ("width", "height"):
        value = drawing[name]
        if value is not None and value % facts.size_multiple:
            why = f"{name} is {value}: {shown(facts.name)} generates multiples of {facts.size_multiple} pixels"
            raise BadRow(why + _switch(row, name))
    if facts.only_buckets and drawing["width"] and (drawing["width"], drawing["height"]) not in facts.buckets:
        sizes = ", ".join(f"{width} x {height}" for width, height in facts.buckets)
        size = f"{drawing['width']} x {drawing['height']}"
        raise BadRow(
            f"the size is {size} pixels: {shown(facts.name)} only generates {sizes}{_switch(row, 'width', 'height')}"
        )
    if facts.width is None and (drawing["width"] is None) != (drawing["height"] is None):
        raise BadRow(f"{shown(facts.name)} needs both width and height, or neither{_switch(row, 'width', 'height')}")
    if drawing["steps"] is not None and drawing["steps"] < facts.min_steps:
        raise BadRow(
            f"steps is {drawing['steps']}: {shown(facts.name)}, as the recipe uses it, needs at least {facts.min_steps}"
            + _switch(row, "steps")
        )
    if not facts.uses_guidance and row.guidance_scale not in (None, facts.guidance_scale):
        why = f"guidance_scale is {row.guidance_scale}: {shown(facts.name)} makes no use of guidance"
        raise BadRow(why + _switch(row, "guidance_scale"))


def _switch(row: Row, *settings: str) -> str:
    """Advice to leave the row's columns of these settings unread; empty if it has none of them."""
    given = [name for name in settings if getattr(row, name) is not None]
    return f"; {left_unread(*given)}" if given else ""


def image_size(row: Row, section: Generate, facts: ModelFacts) -> tuple[int | None, int | None]:
    """Default width and height in pixels: by the aspect ratio of the row or the recipe, or by recipe and model."""
    ratio = row.aspect_ratio or (section.aspect_ratio and parse_ratio(section.aspect_ratio))
    if not ratio:
        return section.width or facts.width, section.height or facts.height
    if not facts.buckets:
        raise BadRow(
            f"an aspect ratio is given, but the sizes of {shown(facts.name)} are not known: give width and height"
        )
    return nearest(facts.buckets, ratio)
