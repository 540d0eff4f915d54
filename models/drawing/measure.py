"""Measures of generated images: what one consists of, and the registry of those in models/drawing/measures.

A measure is one file there, which ends in ``MEASURE = Measure(...)``; the dataset's column follows from it. The flow's
process reads these declarations, so a measure imports torch inside the functions that compute with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from PIL import Image

from imagemill.data.dataset.measures import MeasureColumn, MeasureKind
from imagemill.data.records import Drawing
from imagemill.models.catalog.spec import Model
from imagemill.models.drawing import measures

Settings = Mapping[str, Any]
"""Step of the recipe -> how its images are measured."""


@dataclass(frozen=True, slots=True)
class MeasureContext:
    """What a measure computes with, beside the images."""

    spec: Model
    """The model that generated them."""
    setting: Any
    """The recipe's for their step."""
    report: Callable[[dict[str, Any]], None]
    """Takes the event of a model that the measure has loaded."""
    pipeline: Any = None
    """None for images of an API, and for those that were staged before this job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A value of every generated image, and the column that the dataset gets for it."""

    name: str
    """Of the column, and of the file."""
    kind: MeasureKind
    settings: Callable[[Mapping[str, Any]], Settings]
    """A recipe, as a manifest has it -> its settings; steps whose images are not measured are left out."""
    of: Callable[[Sequence[tuple[Drawing, Image.Image]], MeasureContext], Sequence[Any]]
    """Images generated together -> the value of each: a bool, int, float or str as ``kind`` says, or None."""
    combine: Callable[[Sequence[Any]], Any] | None = None
    """As MeasureColumn has it: None for a column for each step."""
    needs_pipeline: bool = False
    """Whether it measures an image only as it is generated; any other measure also looks at staged images."""
    load: Callable[[MeasureContext], Any] | None = None
    """Loads what it needs on the device, before the batch size is found."""
    fault: Callable[[Any, Any], str | None] | None = None
    """(value, setting) -> why such an image is set aside; None where it is not."""
    is_column: Callable[[Settings], bool] = bool
    digest: Callable[[Settings], Mapping[str, Any]] | None = None
    """Its entries in the schema's digest; by default its settings by its name. Changing them writes all rows anew."""

    def column(self, recipe: Mapping[str, Any]) -> MeasureColumn:
        """The measure in a dataset of this recipe."""
        settings = self.settings(recipe)
        entries = self.digest(settings) if self.digest else {self.name: settings}
        return MeasureColumn(self.name, self.kind, settings, self.is_column(settings), self.combine, entries)


@cache
def registry() -> Mapping[str, Measure]:
    """Every measure by its name, in the order of their names, which is that of their columns."""
    names = sorted(module.name for module in iter_modules(measures.__path__))
    return {name: import_module(f"{measures.__name__}.{name}").MEASURE for name in names}


def measures_of(recipe: Mapping[str, Any]) -> tuple[MeasureColumn, ...]:
    """The measures that a recipe, as a manifest has it, asks for."""
    columns = (measure.column(recipe) for measure in registry().values())
    return tuple(column for column in columns if column.settings)
