"""Declarations of measures: columns whose values are computed from a generated image, or while it is generated.

The measures themselves are files of models/drawing/measures, which data/ must not import: a task hands their
declarations for the recipe at hand to the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

MeasureKind = Literal["bool", "int", "float", "str"]


@dataclass(frozen=True, slots=True)
class MeasureColumn:
    """One measure as one dataset has it."""

    name: str
    """Of the column, and of the value in a staged image's record (data.records.Staged)."""
    kind: MeasureKind
    settings: Mapping[str, Any]
    """Step of the recipe -> how its images are measured; without the steps whose images are not."""
    is_column: bool = True
    """False where images are measured for the build alone."""
    combine: Callable[[Sequence[Any]], Any] | None = None
    """The row's value from those of its images, which are never None; None: a column for each step."""
    digest: Mapping[str, Any] = field(default_factory=dict)
    """Its entries in the schema's digest, and so in every row key."""

    def of_row(self, values: Sequence[Any]) -> Any:
        """The row's value from those of its images; None where no image has one."""
        known = [value for value in values if value is not None]
        return self.combine(known) if known else None


MeasuresOf = Callable[[Mapping[str, Any]], tuple[MeasureColumn, ...]]
"""The measures of a recipe, given as a manifest has it."""
