"""The dataset's name in the parameters of a run, which may be no valid recipe."""

from __future__ import annotations

import re
from typing import Any

DATASET_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def dataset_name(parameters: dict[str, Any]) -> str | None:
    """The dataset's name in a build's parameters: an override, the recipe's field, or its file's name."""
    recipe, overrides = parameters.get("recipe"), parameters.get("overrides")
    given = overrides.get("name") if isinstance(overrides, dict) else None
    if isinstance(recipe, dict):
        given = given or recipe.get("name")
    elif isinstance(recipe, str):
        given = given or re.sub(r".*/|\.ya?ml$", "", recipe)
    return given if isinstance(given, str) and DATASET_NAME.fullmatch(given) else None
