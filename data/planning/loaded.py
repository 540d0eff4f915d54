"""Result of loading the prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagemill.data.dataset.carried.arrow_kinds import ColumnKind
from imagemill.data.dataset.carried.begun import Begun
from imagemill.data.planning.words.unasked import Unasked


@dataclass(frozen=True, slots=True)
class Loaded:
    """Totals of the rows, and the columns that are carried into the dataset."""

    rows: int
    set_aside: int
    carried: Mapping[str, ColumnKind]
    """Name in the prompts file -> kind of the column."""
    begun: Begun = field(default_factory=Begun)
    """The columns that the dataset has already."""
    conventions: int = 1
    """Conventions by which the rows were read (data.dataset.folder.CONVENTIONS)."""
    encoding_version: int = 1
    """Version of the images' encoding (data.images.codec.ENCODING_VERSION)."""
    unasked: Unasked = field(default_factory=Unasked)
    """Questions that language models have not been asked yet."""
    notes: tuple[str, ...] = ()
    """Sentences about what the user may not have meant."""
