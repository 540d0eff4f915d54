"""Names of a record's fields in messages, so that the user knows which field to name in recipe.columns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from imagemill.data.config.chain import generate_of
from imagemill.data.config.columns import GUIDES
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.template import placeholders
from imagemill.data.messages import shown
from imagemill.data.prompts.field_roles import COMMON_NAMES
from imagemill.data.prompts.formats.names import TABLES, format_of
from imagemill.data.prompts.hub import is_on_hub

_MAX_LISTED = 8

_FAMILIAR = re.compile(
    r"[\w .,;|/\t-]*(prompt|text|caption|image|instruction|conversation|message|mask|title|label|description)"
    r"[\w .,;|/\t-]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class RoleNames:
    """Names that the recipe gives the fields of a row, for readers of files without names, or with odd headings."""

    prompt: str = "prompt"
    id: str | None = "id"
    images: str | None = None
    """None if the recipe reads no image to edit."""
    embedded: frozenset[str] = frozenset()
    """All fields with images that the recipe reads."""
    texts: frozenset[str] = frozenset(["prompt"])
    """Fields of which every row has at least one."""

    def fields(self, row_id: str, image: Any) -> dict[str, Any]:
        """The fields of a row that is an image."""
        return {**({self.id: row_id} if self.id else {}), **({self.images: image} if self.images else {})}


def role_names(recipe: Recipe) -> RoleNames:
    """The names in a recipe."""
    columns = recipe.columns
    edits_given = generate_of(recipe) is None
    own = (columns.prompt, columns.conversations, columns.images, columns.edit_prompt)
    named = {name for name in own if name}
    texts = {name.partition(".")[0] for name in named}.union(named, *COMMON_NAMES.values())
    return RoleNames(
        prompt=columns.prompt,
        id=columns.id,
        images=columns.images if edits_given else None,
        embedded=frozenset(
            [*([columns.images] if edits_given else []), columns.mask, *(getattr(columns, role) for role in GUIDES)]
        ),
        texts=frozenset(texts | (placeholders(recipe.template) if recipe.template else set())),
    )


def has_heading(prompts: str) -> bool:
    """True if the prompts file's first line names its fields (CSV, TSV); so it may be in a folder."""
    is_folder = bool(prompts) and not is_on_hub(prompts) and format_of(prompts) is None
    return is_folder or format_of(prompts) in TABLES


def list_fields(names: Iterable[str], from_heading: bool) -> str:
    """The names, the first few of many. ``from_heading``: they are a CSV's or TSV's first line.

    Such a line may be any text, if the file is no table at all: only names that look like a dataset's are repeated.
    """
    names = list(names)
    listed = [name for name in names if not from_heading or (len(name) <= 60 and _FAMILIAR.fullmatch(name))]
    listed = listed[:_MAX_LISTED]
    others = len(names) - len(listed)
    texts = [shown(name, 40) for name in listed]
    if others:
        texts.append(f"{others} other{'s' * (others > 1)}" if listed else f"{others} field{'s' * (others > 1)}")
    return ", ".join(texts) or "nothing"
