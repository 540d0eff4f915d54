"""Records of an export: what a format writes for one row, and what it knows of the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Row = Mapping[str, Any]
"""A row as JSON-like values; its images are {"bytes", "path"}, or {"path"} alone where no bytes are needed."""


class Signer(Protocol):
    """Signer that puts a manifest into images (data.export.credentials)."""

    fingerprint: str

    def sign(self, content: bytes, row: Row, image: str) -> bytes:
        """The image of the row with its manifest; one that was not generated as it is."""
        ...


@dataclass(frozen=True, slots=True)
class Choices:
    """Choices of the user beside the format."""

    target: Path
    """Absolute path of the folder that is exported to."""
    caption: str | None = None
    """Column of the captions; None: the instruction of an edit, the prompt of any other row."""
    name: str | None = None
    """Column that names the files; None: ``id``."""
    by_class: str | None = None
    """Column whose values become folders."""
    messages: bool = False
    """True if ids that end in -0, -1, ... are the messages of one row of the prompts file."""
    signer: Signer | None = None
    """Signer of the generated images, if they are signed."""


@dataclass(frozen=True, slots=True)
class Named:
    """The names of one row in the export: unique in it, also where capitals do not count."""

    stem: str
    """Of its files."""
    folder: str | None = None
    """Of its class; None without ``by_class``."""
    group: str = ""
    """Of the row of the prompts file that it comes from: equal for its variants, turns and candidates."""
    message: int = 0
    """Number of the message in that row."""


@dataclass(frozen=True, slots=True)
class ImageOf:
    """A file that is an image of the row."""

    column: str
    """Or ``reference 1`` and so on (data.export.row_images)."""
    for_training: bool = False
    """True if a trainer reads it, and knows neither EXIF orientation nor rare formats."""
    as_png: bool = False
    """True if it is written as PNG, since trainers do not open the format that it has."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row in an export."""

    files: Mapping[str, ImageOf | str]
    """Path below the target -> an image of the row, or a text."""
    lines: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """File of metadata below the target -> the row's line in it."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that the format has no place for."""

    why: str
    """Such as ``without a caption``."""


@dataclass(slots=True)
class Summary:
    """Summary of an export, for the configuration files of trainers."""

    choices: Choices
    dataset: str
    """Its name."""
    folders: Counter[str] = field(default_factory=Counter)
    """Folder below the target -> images in it."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(width, height) of the rows' images in pixels -> rows."""

    @property
    def size(self) -> tuple[int, int]:
        """The most frequent size; 512 x 512 where none is known."""
        return max(self.sizes, key=lambda size: (self.sizes[size], size), default=(512, 512))
