"""Names of carried columns in the dataset: printable, of bounded length, no two alike, and none that is imagemill's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

MAX_NAME = 200
"""Characters of the name of a carried column."""

UNNAMED = "unnamed"
"""Name of a column whose name is empty."""

# Joiners of scripts and emoji: not printable by Python's definition, but parts of words.
_JOINERS = "\u200c\u200d"


def carried_name(name: str, own: Collection[str]) -> str:
    """The name with ``source_`` before it if it is one of ``own``; no two names become the same one."""
    bare = name
    while bare.startswith("source_"):
        bare = bare.removeprefix("source_")
    # source_image itself is renamed too, since a column image may take its name.
    return f"source_{name}" if bare in own else name


def clean_name(name: str) -> str:
    """The name without what cannot be printed, and not longer than MAX_NAME: a NUL in it makes Parquet unreadable."""
    printable = "".join(char if char.isprintable() or char in _JOINERS else "_" for char in name[:MAX_NAME])
    return printable or UNNAMED


def column_names(names: Iterable[str], own: Collection[str], begun: Mapping[str, str]) -> dict[str, str]:
    """Name in the prompts file -> name of its column. ``begun``: those that the dataset has already."""
    columns = {name: begun[name] for name in names if name in begun and begun[name] not in own}
    taken = {*begun.values(), *own}
    # Names that can stay as they are come first.
    for name in sorted({*names} - columns.keys(), key=lambda name: (clean_name(name) != name, name)):
        column = carried_name(clean_name(name), own)
        columns[name], number = column, 1
        while columns[name] in taken:
            number += 1
            columns[name] = f"{column}_{number}"
        taken.add(columns[name])
    return columns
