"""Section ``select``: how many candidates a row has, which of them pass, and which are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagemill.data.config.fields import Section


class Bounds(Section):
    """Range of a score, both ends included."""

    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """How one step chooses among the candidates of a row."""

    of: int
    """Candidates of a row in all, kept or not."""
    keep: int
    """How many of them are kept."""
    where: Mapping[str, Bounds]
    """Scorer -> range that a candidate's score must lie in."""
    best: str | None
    """Scorer that ranks the candidates that pass; None: the first by number are kept."""
    draw: str
    """``all``, or ``until_enough``."""
