"""Totals of a build's plan; the planned rows themselves are in the worklist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagemill.data.scores.funnel import Funnel


@dataclass(frozen=True, slots=True)
class JudgingPlan:
    """Further totals of a judged build's plan."""

    funnel: Funnel = field(default_factory=Funnel)
    """Fates of the candidates of finished rows."""
    at_least: Mapping[str, int] = field(default_factory=dict)
    """Model -> images that are generated whatever is chosen; Plan.drawings has the most."""
    to_score: Mapping[str, int] = field(default_factory=dict)
    """Scorer -> images that it scores now; more where later steps generate."""
    to_rejected: int = 0
    """Rows that move from data/ to rejected/, ..."""
    from_rejected: int = 0
    """... and back."""
    questions: Mapping[str, int] = field(default_factory=dict)
    """Chat scorer -> questions to its language model, at most; more where later steps generate."""
    inverse: int = 0
    """Inverse rows after the build, at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Totals of a build's work; the planned rows themselves are in the worklist."""

    rows: int
    """Rows of the finished dataset if no further one is set aside."""
    reused: int
    """Rows that are in the dataset already."""
    removed: int
    """Rows in the dataset that the recipe no longer requests."""
    set_aside: int
    """Rows that are set aside already."""
    shards: int
    drawings: Mapping[str, int]
    """Model -> images to generate, including staged and restorable ones."""
    restorable: int
    """Those of the images that other rows of the dataset have already."""
    notes: tuple[str, ...] = ()
    """Sentences about what the user may not have meant."""
    judging: JudgingPlan | None = None
    """None for a recipe that judges nothing."""
