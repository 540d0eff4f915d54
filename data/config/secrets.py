"""Credential check for recipes, which are stored, displayed and published with the dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from imagemill.data.errors import RecipeError
from imagemill.data.messages import TOKENS, field_path

_PATTERNS = {kind: re.compile(pattern) for kind, pattern in TOKENS.items()}


def refuse_tokens(fields: Mapping[str, Any]) -> None:
    """Raise RecipeError if any text in the recipe looks like a credential. The message does not repeat it."""
    for field, text in _texts(fields, ("recipe",)):
        for kind, pattern in _PATTERNS.items():
            if pattern.search(text):
                raise RecipeError(
                    f"{field} contains {kind}, and a recipe is stored by Prefect and published in manifest.json. "
                    "Remove it, revoke it, and supply a new one through the environment of the build process "
                    "(HF_TOKEN, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ...) or a Prefect Secret block."
                )


def _texts(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field_path(place), value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(name, str):
                yield f"a field's name in {field_path(place)}", name
            yield from _texts(inner, (*place, name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*place, number))
