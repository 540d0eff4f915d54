"""Registry of measures: values of generated images, each of which is a file of models/drawing/measures.

The file ends in ``MEASURE = Measure(...)``, from which the dataset's column follows. The flow's process reads these
declarations, so a measure imports torch only inside the functions that compute with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from PIL import Image

from imagemill.data.dataset.measure_columns import MeasureColumn, MeasureKind
from imagemill.data.records import Drawing
from imagemill.models.catalog.spec import Model
from imagemill.models.drawing import measures

Settings = Mapping[str, Any]
"""Step of the recipe -> setting for its images."""


@dataclass(frozen=True, slots=True)
class MeasureContext:
    """Inputs of a measure besides the images."""

    spec: Model
    """The model that generated the images."""
    setting: Any
    """The recipe's setting for their step."""
    report: Callable[[dict[str, Any]], None]
    """Receives an event for each model that the measure loads."""
    pipeline: Any = None
    """None for images of an API, and for images that were staged before this job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A value of each generated image, and the dataset's column of it."""

    name: str
    """Name of the column and of the file."""
    kind: MeasureKind
    settings: Callable[[Mapping[str, Any]], Settings]
    """Recipe, as a manifest stores it -> settings, only of steps whose images are measured."""
    of: Callable[[Sequence[tuple[Drawing, Image.Image]], MeasureContext], Sequence[Any]]
    """Images of one batch -> the value of each: Python's bool, int, float or str according to ``kind``, or None."""
    combine: Callable[[Sequence[Any]], Any] | None = None
    """Values of a row's images -> the row's value. If None, each step has a column."""
    needs_pipeline: bool = False
    """True if an image can be measured only while it is generated; all other measures also cover staged images."""
    load: Callable[[MeasureContext], Any] | None = None
    """Loads the measure's model, before the batch size is found beside it."""
    fault: Callable[[Any, Any], str | None] | None = None
    """(value, setting) -> reason to set the image aside, or None."""
    is_column: Callable[[Settings], bool] = bool
    """True if the dataset stores the values."""
    digest: Callable[[Settings], Mapping[str, Any]] | None = None
    """Entries in the schema's digest, which all row keys contain; by default the settings under the measure's name."""

    def column(self, recipe: Mapping[str, Any]) -> MeasureColumn:
        """The measure in a dataset of this recipe."""
        settings = self.settings(recipe)
        entries = self.digest(settings) if self.digest else {self.name: settings}
        return MeasureColumn(self.name, self.kind, settings, self.is_column(settings), self.combine, entries)


@cache
def registry() -> Mapping[str, Measure]:
    """All measures by name, in the order of their columns."""
    names = sorted(module.name for module in iter_modules(measures.__path__))
    return {name: import_module(f"{measures.__name__}.{name}").MEASURE for name in names}


def measures_of(recipe: Mapping[str, Any]) -> tuple[MeasureColumn, ...]:
    """The measures of a recipe, as a manifest stores it."""
    columns = (measure.column(recipe) for measure in registry().values())
    return tuple(column for column in columns if column.settings)
