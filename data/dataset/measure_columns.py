"""Declarations of measures: columns whose values are computed from a generated image, or while it is generated.

The measures are files of models/drawing/measures, which data/ must not import: a task passes their declarations for its
recipe to the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

MeasureKind = Literal["bool", "int", "float", "str"]


@dataclass(frozen=True, slots=True)
class MeasureColumn:
    """One measure in one dataset."""

    name: str
    """Name of the column, and of the value in the record of a staged image (data.records.Staged)."""
    kind: MeasureKind
    settings: Mapping[str, Any]
    """Step of the recipe -> setting for its images; only steps whose images are measured."""
    is_column: bool = True
    """False if the dataset does not store the values."""
    combine: Callable[[Sequence[Any]], Any] | None = None
    """Values of a row's images, without None -> the row's value. If None, each step has a column."""
    digest: Mapping[str, Any] = field(default_factory=dict)
    """Its entries in the schema's digest, and so in every row key."""

    def of_row(self, values: Sequence[Any]) -> Any:
        """The row's value; None if none of its images has one."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        assert self.combine is not None, "only a measure that combines has a row's value"
        return self.combine(known)


MeasuresOf = Callable[[Mapping[str, Any]], tuple[MeasureColumn, ...]]
"""Recipe, as a manifest stores it -> its measures."""
