"""Detection of a table's dialect from its first lines: Excel's ``sep=;``, its delimiter, and blanks in the heading."""

from __future__ import annotations

import re
from collections.abc import Collection

_SEP_LINE = re.compile(r'\s*"?sep=(?P<delimiter>[^"\r\n])"?[\s,;]*', re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_OTHERS = (";", "\t", "|")


def named_delimiter(line: str) -> str | None:
    """The delimiter that a file of Excel's names in its first line; None if the line is no such line."""
    match = _SEP_LINE.fullmatch(line)
    return match["delimiter"] if match else None


def delimiter_of(heading: str, default: str, named: Collection[str]) -> str:
    """The delimiter of a table with this first line: ``default``, unless the line has another one only.

    ``named``: fields that the recipe reads. A heading that is such a name as a whole is one column.
    """
    line = heading.strip("\r\n")
    if default != "," or _is_named(line, named):
        return default
    plain = _QUOTED.sub("x", line)
    found = [delimiter for delimiter in _OTHERS if delimiter in plain]
    if "," in plain or len(found) != 1:
        return default
    return found[0] if all(name.strip() for name in plain.split(found[0])[:2]) else default


def has_blanks(names: list[str], named: Collection[str]) -> bool:
    """True if blanks round the names keep the recipe from finding its fields: none as they are, one without blanks."""
    return not any(_is_named(name, named) for name in names) and any(_is_named(name.strip(), named) for name in names)


def _is_named(name: str, named: Collection[str]) -> bool:
    return name.lower() in {known.lower() for known in named}
