"""Guide images of a recipe: each row's control image for a ControlNet, its image prompt for an IP-Adapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.data.config.chain import generate_of, plain_chain
from imagemill.data.config.columns import GUIDES
from imagemill.data.config.recipe import Recipe

Guide = tuple[str, str, str]
"""Its role (a key of GUIDES), its path, and the sha256 of its bytes."""


def guides_of(recipe: Recipe) -> tuple[str, ...]:
    """Roles (keys of GUIDES) of the guide images that every row must supply."""
    section = generate_of(recipe)
    return tuple(role for role, field in GUIDES.items() if section is not None and getattr(section, field) is not None)


def plain_guides(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """The same for a manifest's recipe."""
    section = dict(plain_chain(recipe)).get("generate") or {}
    return tuple(role for role, field in GUIDES.items() if section.get(field) is not None)


def guide_columns(roles: tuple[str, ...]) -> list[tuple[str, str]]:
    """(image column, sha256 column) of each role in the dataset."""
    return [(role, f"{role}_sha256") for role in roles]
