"""The dataset's name in the parameters of a run, which may be no valid recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

DATASET_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def dataset_name(parameters: Mapping[str, Any]) -> str | None:
    """The dataset's name in a build's parameters: an override, the recipe's field, or its file's name.

    Of the short form it is the output's name, or the prompts'.
    """
    recipe, overrides = parameters.get("recipe"), parameters.get("overrides")
    given = overrides.get("name") if isinstance(overrides, Mapping) else None
    for field in ("output", "prompts"):
        if isinstance(path := parameters.get(field), str):
            name = path.rstrip("/").rpartition("/")[2]
            given = given or (name if field == "output" else name.partition(".")[0])
    if isinstance(recipe, Mapping):
        given = given or recipe.get("name")
    elif isinstance(recipe, str):
        given = given or re.sub(r".*/|\.ya?ml$", "", recipe)
    return given if isinstance(given, str) and DATASET_NAME.fullmatch(given) else None
