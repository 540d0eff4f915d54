"""Kinds of scorers: what each is given and what it answers. Each kind is a file of models/scoring/kinds.

The file ends in ``KIND = Kind(...)``. A new kind needs a section of the recipe beside it (data.config.judging.scorers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from PIL import Image

from imagemill.data.scores.records import ScoreRequest
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.scoring import kinds
from imagemill.models.scoring.embeddings import Embeddings


@dataclass(frozen=True, slots=True)
class Pixels:
    """A decoded image."""

    image: Image.Image
    """RGB; a mask is L."""
    hash: str
    """data.images.pixels.hash_pixels of it."""


@dataclass(frozen=True, slots=True)
class Look:
    """A request with its decoded images: the scorer's input."""

    request: ScoreRequest
    image: Pixels
    source: Pixels | None = None
    """None where the scorer does not read it; likewise the mask."""
    mask: Pixels | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A scorer's answer about one look."""

    score: float | None = None
    """Not rounded; NaN and infinity are faults of the image."""
    hash: int | None = None
    """Perceptual hash of 64 bits."""
    vector: bytes | None = None
    """Unit vector of the image: float16, little endian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of scorer."""

    name: str
    """Name of the file, and of the recipe's ``kind``."""
    score: Callable[[ScorerSpec, Sequence[Look], Embeddings | None], Sequence[Verdict]]
    """The verdict of each look of a batch. Raises BadRow for a single look that cannot be scored."""
    has_model: bool = False
    """True if it needs the spec's model, which it finds in the embeddings."""


@cache
def kind_of(name: str) -> Kind:
    """The kind of this name."""
    kind: Kind = import_module(f"{kinds.__name__}.{name}").KIND
    return kind


def names() -> list[str]:
    """All kinds."""
    return sorted(module.name for module in iter_modules(kinds.__path__))
