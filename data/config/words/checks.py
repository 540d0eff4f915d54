"""Checks of a recipe's words as a whole: what a model writes is never taken for an image, an id or a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagemill.data.config.columns import GUIDES, Columns
from imagemill.data.messages import shown

if TYPE_CHECKING:
    from imagemill.data.config.recipe import Recipe

_IMAGE_ROLES = ("images", "mask", *GUIDES)

IMAGE_NAMES = ("image", "img", "url", "file_name")
"""Names by which a field with the image is recognised (data.prompts.field_roles.COMMON_NAMES)."""


def check_words(recipe: Recipe) -> None:
    """Raise ValueError for a step of ``llm`` that writes what no model may decide, or sees what is no image."""
    written: set[str] = set()
    never = _never_written(recipe.columns)
    for number, step in enumerate(recipe.llm):
        for name in step.fields:
            if role := never.get(name.lower()):
                raise ValueError(
                    f"llm.{number}.fields has {shown(name)}, which is the column of {role}: a model's words are never "
                    "taken for it; give the field another name"
                )
        if hidden := sorted(written.intersection(step.sees)):
            raise ValueError(
                f"llm.{number}.sees has {shown(hidden[0])}, which an earlier step writes: it can only be a column with "
                "images"
            )
        if not recipe.prompts:
            _check_without_prompts(number, step.sees, step.placeholders - written)
        written.update(step.fields)


def _check_without_prompts(number: int, sees: list[str], unknown: frozenset[str] | set[str]) -> None:
    if sees:
        raise ValueError(f"llm.{number}.sees has {shown(sees[0])}, but no prompts file is given that could have images")
    if unknown:
        raise ValueError(
            f"llm.{number}.ask has {{{sorted(unknown)[0]}}}, but no prompts file is given that could have such a "
            "column, and no earlier step writes it"
        )


def _never_written(columns: Columns) -> dict[str, str]:
    """Field, in small letters -> what it is the column of."""
    found = dict.fromkeys(IMAGE_NAMES, "the image")
    for role in (*_IMAGE_ROLES, "conversations", "id"):
        name = getattr(columns, role)
        if name:
            # Of a path, what it begins with: a list's items have paths too.
            found[name.lower()] = found[name.partition(".")[0].lower()] = f"columns.{role}"
    return found | {"messages": "columns.conversations", "conversation": "columns.conversations"}
