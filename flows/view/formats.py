"""Formats of numbers, times and texts on the gallery's pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from imagemill.data.messages import escaped
from imagemill.flows.run.dashboard_text import format_duration

HIDDEN = frozenset(["workers", "models", "versions", "recipe", "notes"])
"""Figures of a run that have more than one value."""


def number(value: Any) -> str:
    """A number with separators, and four decimals at most."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4f}".rstrip("0").rstrip(".") if abs(value) >= 0.0001 or not value else f"{value:.3g}"


def score(value: Any) -> str:
    """A score as it is compared: with four decimals; a dash where the scorer did not look."""
    return "-" if value is None else f"{value:.4f}"


def text(value: Any) -> str:
    """A value as text, with control characters and direction overrides written as escapes."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, list | dict):
        return escaped(json.dumps(value, ensure_ascii=False, default=str))[:2000]
    return escaped(str(value))


def when(value: Any) -> str:
    """The time at which a run began."""
    return text(str(value)[:16].replace("T", " "))


def figures(run: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a run with one value each."""
    return {
        name: value for name, value in run.items() if isinstance(value, str | int | float | bool) and name not in HIDDEN
    }


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "score": score,
    "text": text,
    "when": when,
    "figures": figures,
    "duration": format_duration,
}
