"""Carried columns that a dataset was begun with: they keep their names and types, whatever rows are added later.

They are pinned in the folder (Folder.pin) and so in the manifest. A dataset of version 0.1.0 has no such entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagemill.data.dataset.carried.arrow_kinds import ColumnKind, type_of


@dataclass(frozen=True, slots=True)
class Begun:
    """The carried columns of a dataset that has rows."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Name in the prompts file -> name of the column."""
    kinds: Mapping[str, ColumnKind] = field(default_factory=dict)
    """Name in the prompts file -> kind of the column."""
    other: str | None = None
    """Column of the values that do not fit into their own; None if there are none."""
    is_old: bool = False
    """True if version 0.1.0 began it: then names are not cleaned, and floats that are not finite are null."""

    def to_json(self) -> dict[str, Any]:
        """Plain values that ``from_json`` reads back."""
        columns = {name: [column, self.kinds[name]] for name, column in sorted(self.columns.items())}
        return {"columns": columns, "other": self.other, "old": self.is_old}

    @classmethod
    def from_json(cls, fields: Any) -> Begun:
        """The inverse of ``to_json``. Raises ValueError, KeyError or TypeError for anything else."""
        columns = {name: column for name, (column, _) in fields["columns"].items()}
        kinds = {name: kind for name, (_, kind) in fields["columns"].items()}
        for kind in kinds.values():
            type_of(kind)
        other = fields["other"]
        if not all(isinstance(column, str) for column in columns.values()) or not isinstance(other, (str, type(None))):
            raise TypeError("a name of a column is a text")
        return cls(columns, kinds, other, fields["old"] is True)
