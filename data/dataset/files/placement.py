"""Placements of rows, as a build decides them, and the count of what becomes of a file's rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from imagemill.data.dataset.files.area import AreaName
from imagemill.data.dataset.files.shard_files import CommittedFile
from imagemill.data.storage.locations import Location

RejectedMode = Literal["keep", "scores", "drop"]
"""Contents of rejected/: whole rows, rows without their images, or nothing."""

Place = tuple[AreaName, str]
"""Area and split."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Place of one row, and its outcomes there."""

    area: AreaName | None
    """None for a row that leaves the dataset."""
    split: str
    outcomes: Mapping[str, Any]
    """Outcome column -> value; a column without one is null."""


Placements = Callable[[Sequence[str]], Mapping[str, Placement]]
"""Row keys -> placements. A row that it does not return stays as it is. It must answer alike each time it is asked."""


@dataclass(slots=True)
class FilePlaces:
    """A committed file, and what becomes of its rows."""

    area: AreaName
    file: CommittedFile
    path: Location
    schema: pa.Schema
    """As the file has it."""
    staying: int = 0
    moved: int = 0
    removed: int = 0
    is_changed: bool = False
    """True if the rows that stay get other columns or outcomes."""

    @property
    def here(self) -> Place:
        """The place of its rows."""
        return self.area, self.file.split

    @property
    def has_work(self) -> bool:
        """True if it cannot stay as it is."""
        return self.is_changed or bool(self.moved or self.removed)
