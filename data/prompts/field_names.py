"""Names of a record's fields in messages: those that tell the user which field to name in recipe.columns."""

from __future__ import annotations

import re
from collections.abc import Iterable

from imagemill.data.config.recipe import Recipe
from imagemill.data.config.template import placeholders
from imagemill.data.messages import shown

_MAX_LISTED = 8

_FAMILIAR = re.compile(
    r"[\w .,;|/\t-]*(prompt|text|caption|image|instruction|conversation|message|mask|title|label|description)"
    r"[\w .,;|/\t-]*",
    re.IGNORECASE,
)


def has_heading(prompts: str) -> bool:
    """Whether the prompts file's first line names its fields (CSV, TSV)."""
    return bool(re.search(r"\.(csv|tsv)(\.(gz|bz2|xz))?$", prompts.lower()))


def text_fields(recipe: Recipe) -> set[str]:
    """Names of the fields from which the recipe takes a row's texts and images: a row without any of them is none."""
    columns = recipe.columns
    names = {columns.prompt, columns.conversations, columns.images, columns.edit_prompt}
    return names | (placeholders(recipe.template) if recipe.template else set())


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
