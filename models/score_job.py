"""Scoring job of a worker: images of one shard, for all scorers. Imports no torch: the flow's process makes these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagemill.data.scores.records import Score, ScoreRequest
from imagemill.models.catalog.scorers.spec import ScorerSpec


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Scores to compute: which scorer reads which images, and where these are staged."""

    scorers: tuple[tuple[ScorerSpec, tuple[ScoreRequest, ...]], ...]
    staging: str
    """Folder of the staged images, on a file system that the workers share."""
    journal: str
    """Folder of the journal (data.scores.journal) that takes each batch's scores, on the same file system."""
    known: Mapping[str, Score] = field(default_factory=dict)
    """Score.pixels -> a score that is known already: it is copied, not computed."""
    max_resident: int | None = None
    """The most models that stay on a worker's device at once; None: as many as fit."""
    on_oom: str = "halve_batch"
    """The recipe's on_oom: what to do when the device runs out of memory."""
    batch_timeout: float = 3600.0
    """Seconds after which a batch counts as hung."""

    @property
    def requests(self) -> int:
        """Number of the scores to compute."""
        return sum(len(requests) for _, requests in self.scorers)

    @property
    def name(self) -> str:
        """The scorers' names, for messages."""
        return ", ".join(dict.fromkeys(spec.name for spec, _ in self.scorers))
