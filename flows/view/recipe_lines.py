"""Lines of a recipe that set a threshold, and the same as a flag of `imagemill build`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imagemill.data.config.judging.names import given_scores

INPUT = "input_score_"
SCORE = "score_"


def threshold_place(recipe: Mapping[str, Any], column: str) -> tuple[str, ...] | None:
    """Path of a threshold for the scores in ``column``: ("edit", "select", "where", "fits").

    None for a column that is no score of the recipe's scorers.
    """
    name = column.removeprefix(INPUT).removeprefix(SCORE)
    if not column.startswith((INPUT, SCORE)) or name not in given_scores(recipe.get("scorers") or {}):
        return None
    steps = _steps(recipe)
    if not steps:
        return "given", "select", "where", name
    # The score of a row's input image is that of an earlier step.
    step = steps[0] if column.startswith(INPUT) else steps[-1]
    return *step, "select", "where", name


def _steps(recipe: Mapping[str, Any]) -> list[tuple[str, ...]]:
    if recipe.get("steps"):
        kinds = [next(kind for kind in ("generate", "edit") if step.get(kind)) for step in recipe["steps"]]
        return [("steps", str(number), kind) for number, kind in enumerate(kinds)]
    return [(kind,) for kind in ("generate", "edit") if recipe.get(kind) is not None]


def recipe_lines(place: tuple[str, ...]) -> str:
    """The lines in YAML, with LIMIT for ``{min: 0.24}``."""
    *sections, where, name = place
    lines = [f"{'  ' * depth}{_key(section)}" for depth, section in enumerate(sections)]
    return "\n".join([*lines, f"{'  ' * len(sections)}{where}: {{{_plain(name)}: LIMIT}}"])


def _key(section: str) -> str:
    return f"# step {int(section) + 1} of the list" if section.isdecimal() else f"{section}:"


def _plain(name: str) -> str:
    return name if name.isidentifier() else json.dumps(name)


def recipe_flag(place: tuple[str, ...]) -> str:
    """The flag, with NAME for ``min`` or ``max`` and VALUE for the threshold."""
    return f"--set {'.'.join(place)}.NAME=VALUE"
