"""Candidates of a row, and what is known of each: its image, its scores, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from imagemill.data.config.judging.select import Rule
from imagemill.data.planning.judging.known_images import KnownImage, KnownScore
from imagemill.data.planning.judging.scoring import Seen
from imagemill.data.planning.row_planner import PlannedRow
from imagemill.data.prompts.row import Row
from imagemill.data.records import SetAside
from imagemill.data.scores.records import ScorerFacts
from imagemill.data.scores.selection import Choice


class Known(Protocol):
    """Known images, scores and failures."""

    def image(self, key: str) -> KnownImage | None:
        """An image by its key; None for one that was never seen."""

    def score(self, request: str) -> KnownScore | None:
        """The answer to a scorer's request; None if there is none yet."""

    def failure(self, row_key: str) -> SetAside | None:
        """Why a candidate was set aside; None if it was not."""


@dataclass(frozen=True, slots=True)
class Look:
    """One candidate, and what is known of it."""

    planned: PlannedRow
    number: int
    seen: Seen | None
    """None for an image that was never seen."""
    image: KnownImage | None
    scores: Mapping[str, float | None]
    """Those that are known, formulas included."""
    lacking: tuple[ScorerFacts, ...]
    """Scorers that have not scored it."""
    failure: SetAside | None = None
    texts: Mapping[str, str | None] = field(default_factory=dict)
    """Those that a language model has given."""
    later: tuple[ScorerFacts, ...] = ()
    """Chat scorers that get it if it passes the others, which have not all scored it yet."""

    @property
    def key(self) -> str:
        """The image's key."""
        return self.planned.path[-1].key

    @property
    def is_known(self) -> bool:
        """True if a choice can be made of it."""
        return self.failure is not None or (self.image is not None and not self.lacking)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One row of data/ or rejected/."""

    look: Look
    rejected_at: str | None = None
    """Step whose choice rejects it or its source; None for a row of data/."""
    rejected_by: str | None = None
    input_scores: Mapping[str, float | None] = field(default_factory=dict)
    is_partial: bool = False
    """True if its image is the input of edits, of which none was made."""

    @property
    def row_key(self) -> str:
        """Key of the row."""
        return self.look.planned.row_key


@dataclass(slots=True)
class Replay:
    """The outcome of one row so far; final if nothing is wanted."""

    row: Row
    leaves: list[Leaf] = field(default_factory=list)
    wanted: list[Look] = field(default_factory=list)
    """Candidates to generate or score before the next choice, of one step each, in the order of the steps."""
    failures: list[tuple[SetAside, bool]] = field(default_factory=list)
    """Candidates that could not be generated or scored, and whether the row has fewer images for it."""
    reasons: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    """Image key of a candidate -> step that rejects it, and why; None if it is kept."""
    choices: list[tuple[Rule, Choice]] = field(default_factory=list)
    """The choices that were made, in order."""

    @property
    def kept(self) -> list[Leaf]:
        """The rows of data/."""
        return [leaf for leaf in self.leaves if leaf.rejected_at is None]


class Level(NamedTuple):
    """One choice: its step, its rule, and the candidates by their numbers."""

    step: str
    is_edit: bool
    rule: Rule
    candidate: Callable[[int], PlannedRow]
    """Number -> candidate."""
    seen: Callable[[PlannedRow, str], Seen]
    """Candidate, and sha256 of its image -> what scorers see."""
