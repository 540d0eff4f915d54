"""Rule of a recipe that keeps what a filter of scores keeps: the line to write into the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from imagemill.data.config.chain import plain_chain
from imagemill.data.dataset.where import Comparison
from imagemill.data.scores.records import DECIMALS

_STEP = 10.0**-DECIMALS
"""Least difference of two scores: what is above 0.3 is at least 0.3001."""

_OWN, _INPUT = "score_", "input_score_"


def rule_line(recipe: Mapping[str, Any], comparisons: Sequence[Comparison] | None) -> str | None:
    """The line of a manifest's recipe with a ``select`` that has these bounds and is otherwise unchanged.

    None where no ``select`` does what the filter does: it has bounds of scores only, those of one step's images.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for column, sign, value in comparisons or ():
        prefix = next((prefix for prefix in (_OWN, _INPUT) if column.startswith(prefix)), None)
        ends = _ends(sign, value)
        if prefix is None or ends is None:
            return None
        bounds = found.setdefault(prefix, {}).setdefault(column.removeprefix(prefix), {})
        for end, bound in ends.items():
            tighter = max if end == "min" else min
            bounds[end] = tighter(bounds.get(end, bound), bound)
    if len(found) != 1:
        return None
    ((prefix, where),) = found.items()
    return _line(recipe, prefix, where)


def _ends(sign: str, value: float) -> dict[str, float] | None:
    """``min`` and ``max`` that say the same as a comparison; None if they cannot."""
    value = round(value, DECIMALS)
    match sign:
        case ">=":
            return {"min": value}
        case ">":
            return {"min": round(value + _STEP, DECIMALS)}
        case "<=":
            return {"max": value}
        case "<":
            return {"max": round(value - _STEP, DECIMALS)}
        case "=" | "==":
            return {"min": value, "max": value}
    return None


def _line(recipe: Mapping[str, Any], prefix: str, where: Mapping[str, Any]) -> str | None:
    chain = plain_chain(recipe)
    place = len(chain) - (1 if prefix == _OWN else 2)
    if chain and (place < 0 or (prefix == _INPUT and chain[-1][1].get("multi_turn"))):
        return None
    kind, section = chain[place] if chain else ("given", recipe.get("given") or {})
    before = {name: value for name, value in (section.get("select") or {}).items() if value not in (None, {}, "all")}
    rule = {kind: {"select": {**before, "where": dict(where)}}}
    line = yaml.safe_dump(rule, default_flow_style=True, sort_keys=False, width=10_000).strip()
    # The outer braces are those of the recipe itself.
    line = line.removeprefix("{").removesuffix("}")
    return f"steps.{place}: {line}" if recipe.get("steps") else line
