"""Job of chat scorers: images of one shard, about which language models are asked. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagemill.data.scores.records import Score, ScoreRequest
from imagemill.models.catalog.scorers.chat import ChatScorerSpec


@dataclass(frozen=True, slots=True)
class AskJob:
    """Scores and texts to ask for: which field of a chat scorer's answers each is, and where the images lie."""

    scorers: tuple[tuple[ChatScorerSpec, tuple[ScoreRequest, ...]], ...]
    staging: str
    """Folder of the staged images."""
    journal: str
    """Folder of the journal (data.scores.journal) that takes each answer's scores."""
    known: Mapping[str, Score] = field(default_factory=dict)
    """Score.pixels -> a score that is known already: it is copied, not requested."""
