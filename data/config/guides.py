"""Images that steer a generation beside its prompt, a row's own: what a ControlNet is given, for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.data.config.chain import generate_of, plain_chain
from imagemill.data.config.recipe import GUIDES, Recipe

Guide = tuple[str, str, str]
"""What it is for (a key of GUIDES), its path, and the sha256 of its bytes."""


def guides_of(recipe: Recipe) -> tuple[str, ...]:
    """Which images every row of the recipe has to give: keys of GUIDES."""
    section = generate_of(recipe)
    return tuple(role for role, field in GUIDES.items() if section is not None and getattr(section, field) is not None)


def plain_guides(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """The same for a recipe as a manifest has it."""
    section = dict(plain_chain(recipe)).get("generate") or {}
    return tuple(role for role, field in GUIDES.items() if section.get(field) is not None)


def guide_columns(roles: tuple[str, ...]) -> list[tuple[str, str]]:
    """The dataset's columns for them: the image's, and that of the sha256 of its bytes."""
    return [(role, f"{role}_sha256") for role in roles]
