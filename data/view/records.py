"""Records of the gallery: rows with the places of their images, and pages of them. None holds an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagemill.data.view.parts import Part

IMAGE_COLUMNS = ("image", "input_image", "edited_image")
"""Columns of a row's own images, in the order in which they are made."""

CARD_COLUMNS = (
    "prompt",
    "edit_prompt",
    "id",
    "row_key",
    "variant",
    "candidate",
    "turn_index",
    "split",
    "width",
    "height",
    "unsafe",
    "rejected_at",
    "rejected_by",
    "duplicate_of",
)
"""Columns that a card shows, beside the scores."""

MAX_TEXT = 20_000
"""Characters of a value that is shown; the rest is counted."""


@dataclass(frozen=True, slots=True)
class ImagePlace:
    """Location of a stored image."""

    part: Part
    row: int
    column: str
    place: int | None = None
    """In a column with lists of images: which of them."""


@dataclass(frozen=True, slots=True)
class ViewRow:
    """One row, without its images."""

    part: Part
    row: int
    values: Mapping[str, Any]
    images: tuple[ImagePlace, ...]
    """The row's own images, in order."""
    position: int | None = None
    """Its number in the query, from 0."""

    @property
    def key(self) -> str:
        """Its row key."""
        return str(self.values.get("row_key") or "")

    @property
    def scores(self) -> dict[str, float | None]:
        """Scorer's name -> score; ``input_`` before the name for the input image's."""
        return {
            name.replace("score_", "", 1): value
            for name, value in self.values.items()
            if name.startswith(("score_", "input_score_"))
        }


@dataclass(frozen=True, slots=True)
class ViewPage:
    """Rows that follow each other in a query."""

    rows: Sequence[ViewRow]
    first: int
    """The position of the first."""
    total: int
    """Rows in the query."""


@dataclass(frozen=True, slots=True)
class ViewPair:
    """A preference pair."""

    part: Part
    row: int
    values: Mapping[str, Any]
    images: tuple[ImagePlace, ...]
    """The input image where there is one, then image 0 and image 1."""
    better: int
    """0 or 1."""


@dataclass(frozen=True, slots=True)
class State:
    """The dataset as it is now."""

    name: str
    output: str
    version: str
    """Changes when its files do."""
    rows: Mapping[str, int]
    """Area -> rows."""
    is_finished: bool
    """True if it has a manifest: a build has been completed."""
    fingerprint: str | None
    damaged: Sequence[str] = ()
    scorers: Mapping[str, Any] = field(default_factory=dict)
    """The recipe's scorers, as the manifest has them."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """The manifest's recipe; empty while there is none."""


def shortened(value: Any, limit: int = MAX_TEXT) -> Any:
    """A value as a page shows it: a long text is cut, and bytes are counted."""
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]} ... ({len(value) - limit:,} more characters)"
    return value
