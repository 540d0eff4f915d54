"""Placeholders in texts of a recipe: names in braces, which stand for values of a row."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from imagemill.data.messages import shown


def names_in(text: str) -> list[str]:
    """The placeholders' names, in order. Raises ValueError for braces without a plain name."""
    try:
        parts = [*string.Formatter().parse(text)]
    except ValueError as error:
        raise ValueError(f"{shown(text)}: {str(error).lower()}; literal braces are written {{{{ and }}}}") from error
    for _, name, spec, conversion in parts:
        if name is not None and (not name.strip() or spec or conversion):
            raise ValueError(
                f"{shown(text)} has braces without a plain name in them; literal braces are written {{{{ and }}}}"
            )
    return [name for _, name, _, _ in parts if name is not None]


def fill_in(text: str, values: Mapping[str, Any]) -> str:
    """The text with each placeholder replaced by its value. A value is not read again: its braces stay braces."""
    # Not str.format, which looks up attributes: here {name.part} is the name of a column.
    return "".join(
        literal + ("" if name is None else str(values[name])) for literal, name, _, _ in string.Formatter().parse(text)
    )
